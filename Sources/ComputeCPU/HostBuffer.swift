internal import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Host memory, either allocated here or borrowed from an owner (a mapped file).
final class HostBuffer: DeviceBuffer {
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  let byteCount: Int
  private let owner: (any AnyObject & Sendable)?

  /// Aligned to 64 bytes; nil if there is no memory. Pages are taken as they are first written.
  init?(byteCount: Int) {
    var pointer: UnsafeMutableRawPointer?
    guard posix_memalign(&pointer, 64, max(byteCount, 64)) == 0, let pointer else { return nil }
    base = pointer
    self.byteCount = byteCount
    owner = nil
  }

  init(borrowing bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable) {
    // An empty view has no address of its own; nothing is ever read through it.
    base =
      bytes.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) }
      ?? UnsafeMutableRawPointer(
        mutating: UnsafeRawPointer(Unmanaged.passUnretained(owner).toOpaque()))
    byteCount = bytes.count
    self.owner = owner
  }

  deinit {
    if owner == nil { free(base) }
  }
}

extension Tensor {
  /// The first byte. Only tensors that the CPU backend made have one.
  var hostAddress: UnsafeMutableRawPointer {
    get throws {
      guard let buffer = buffer as? HostBuffer else {
        throw ComputeError.shapeMismatch(
          operation: "CPU backend", detail: "a tensor of another backend was passed")
      }
      return buffer.base + byteOffset
    }
  }

  /// The elements of a float32 tensor.
  func floats(_ operation: String) throws -> UnsafeMutablePointer<Float> {
    guard type == .float32 else {
      throw ComputeError.shapeMismatch(
        operation: operation, detail: "float32 expected, \(type) \(shape) passed")
    }
    return try hostAddress.assumingMemoryBound(to: Float.self)
  }
}
