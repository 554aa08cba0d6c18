import Compute
import JSON

/// A link between two processes by TCP, for backends that compute in the host's memory.
final class HostOutlet: TensorOutlet {
  let name = "TCP"
  private let connection: Connection
  private let backend: any Backend

  init(_ connection: Connection, backend: any Backend) {
    self.connection = connection
    self.backend = backend
  }

  func send(_ x: Tensor, ticket: Int) throws {
    try connection.send(
      Message(
        "tensor", [("ticket", .integer(ticket))], bytes: HostNumbers.bytes(of: backend.read(x))))
  }

  func abort() { connection.close() }
}

/// The end at which tensors arrive. A thread of its own receives them, so that the sender need not wait.
final class HostInlet: TensorInlet {
  private struct State {
    var shapes: [Int: (type: DataType, shape: [Int])] = [:]
    var arrived: [Int: [UInt8]] = [:]
    var failure: (any Error)?
  }

  private let connection: Connection
  private let backend: any Backend
  private let state = Monitor(State())
  private let receiver: StageWorker

  /// - Throws: ``PipelineError/noThread(reason:)``.
  init(_ connection: Connection, backend: any Backend) throws {
    self.connection = connection
    self.backend = backend
    receiver = try StageWorker()
    connection.waitForever()
    let state = state
    receiver.submit {
      do {
        while true {
          let message = try connection.receive()
          let ticket = try message.int("ticket")
          state.withLock { $0.arrived[ticket] = message.bytes }
        }
      } catch { state.withLock { $0.failure = error } }
    }
  }

  deinit { connection.close() }

  func expect(ticket: Int, type: DataType, shape: [Int]) {
    state.withLock { $0.shapes[ticket] = (type, shape) }
  }

  func take(ticket: Int) throws -> Tensor {
    let bytes = try state.wait { state -> Result<[UInt8], any Error>? in
      if let bytes = state.arrived.removeValue(forKey: ticket) { return .success(bytes) }
      return state.failure.map { .failure($0) }
    }.get()
    guard let (type, shape) = state.withLock({ $0.shapes.removeValue(forKey: ticket) }) else {
      throw PipelineError.malformedMessage(detail: "tensor \(ticket) was not announced")
    }
    let tensor = try backend.makeTensor(
      type, shape, purpose: "hidden states from another process")
    try backend.write(HostNumbers.floats(of: bytes), to: tensor)
    return tensor
  }

  func abort() { connection.close() }
}

/// Numbers in messages: float32, little endian. Exact for every type of activations.
enum HostNumbers {
  static func bytes(of floats: [Float]) -> [UInt8] {
    floats.map(\.bitPattern.littleEndian).withUnsafeBytes { Array($0) }
  }

  static func floats(of bytes: [UInt8]) -> [Float] {
    let count = bytes.count / 4
    return bytes.withUnsafeBytes { raw in
      (0..<count).map {
        Float(
          bitPattern: UInt32(
            littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
      }
    }
  }
}
