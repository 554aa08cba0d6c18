internal import CKernels
public import Compute
internal import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Everything of a layer but attention.
extension CPUBackend {
  public func embed(_ ids: [Int32], table: Weight, into x: Tensor) throws {
    let width = x.rowCount
    guard table.shape.count == 2, table.rowCount == width, x.rows == ids.count else {
      throw ComputeError.shapeMismatch(
        operation: "embed", detail: "\(ids.count) ids, table \(table.shape), x \(x.shape)")
    }
    if let bad = ids.firstIndex(where: { $0 < 0 || Int($0) >= table.rows }) {
      throw ComputeError.shapeMismatch(
        operation: "embed",
        detail: "id \(ids[bad]) at index \(bad) is not in a vocabulary of \(table.rows)")
    }
    let target = try x.floats("embed")
    if case .blocks(let format) = table.format {
      return try embed(ids, blocks: table, format, into: target)
    }
    let table = try table.tensor(for: "embed")
    guard let type = table.type.storage else {
      throw ComputeError.shapeMismatch(operation: "embed", detail: "a table of \(table.type)")
    }
    let source = try table.hostAddress
    pool.split(ids.count, minimum: 64) { rows in
      for row in rows {
        kernels.to_float32(
          source + Int(ids[row]) * width * table.type.byteCount, type, target + row * width,
          Int64(width))
      }
    }
  }

  public func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float, into y: Tensor) throws {
    let width = x.rowCount
    guard weight.count == width, y.shape == x.shape else {
      throw ComputeError.shapeMismatch(
        operation: "rmsNorm", detail: "x \(x.shape), weight \(weight.shape), y \(y.shape)")
    }
    let source = try x.floats("rmsNorm")
    let target = try y.floats("rmsNorm")
    let factors = try weight.tensor(for: "rmsNorm").floats("rmsNorm")
    pool.split(x.rows, minimum: 16) { rows in
      let offset = rows.lowerBound * width
      kernels.rms_norm(
        source + offset, factors, epsilon, target + offset, Int64(rows.count), Int64(width))
    }
  }

  public func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws {
    guard x.shape.count == 3, 2 * rotary.inverseFrequencies.count <= x.shape[2] else {
      throw ComputeError.shapeMismatch(
        operation: "rotate",
        detail: "\(rotary.inverseFrequencies.count) frequencies for \(x.shape)")
    }
    let heads = x.shape[1]
    let dim = x.shape[2]
    let pairs = rotary.inverseFrequencies.count
    let target = try x.floats("rotate")
    let table = rotationTables.table(rotary, firstPosition: firstPosition, rows: x.rows, pool: pool)
    table.cosine.withUnsafeBufferPointer { cosine in
      table.sine.withUnsafeBufferPointer { sine in
        guard let cosine = cosine.baseAddress, let sine = sine.baseAddress else { return }
        pool.split(x.rows, minimum: 16) { rows in
          kernels.rotate(
            target + rows.lowerBound * heads * dim, cosine + rows.lowerBound * pairs,
            sine + rows.lowerBound * pairs, Int64(rows.count), Int64(heads), Int64(dim),
            Int64(pairs), rotary.layout == .interleaved)
        }
      }
    }
  }

  public func swiGLU(gate: Tensor, up: Tensor) throws { try activate(.silu, gate: gate, up: up) }

  /// gate = activation(gate, up).
  func activate(_ activation: GatedActivation, gate: Tensor, up: Tensor) throws {
    guard gate.shape == up.shape else {
      throw ComputeError.shapeMismatch(
        operation: "swiGLU", detail: "gate \(gate.shape), up \(up.shape)")
    }
    let target = try gate.floats("swiGLU")
    let source = try up.floats("swiGLU")
    pool.split(gate.count, minimum: 1 << 14) { range in
      let (gate, up, count) = (
        target + range.lowerBound, source + range.lowerBound, Int64(range.count)
      )
      switch activation {
      case .silu: kernels.swiglu(gate, up, count)
      case .clampedSwiGLU(let alpha, let limit):
        kernels.clamped_swiglu(gate, up, alpha, limit, count)
      }
    }
  }

  public func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    throw ComputeError.noNarrowInputs(name)
  }

  public func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    try makeTensor(activationType, shape, purpose: purpose)
  }

  public func add(_ x: Tensor, to y: Tensor) throws {
    guard x.shape == y.shape else {
      throw ComputeError.shapeMismatch(operation: "add", detail: "x \(x.shape), y \(y.shape)")
    }
    let source = try x.floats("add")
    let target = try y.floats("add")
    pool.split(x.count, minimum: 1 << 14) { range in
      // A bias of one long row.
      kernels.add_bias(
        source + range.lowerBound, target + range.lowerBound, 1, Int64(range.count))
    }
  }

  public func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws {
    let shape = layer.keys.shape
    guard k.shape == v.shape, k.shape.count == 3, k.shape[1] == shape[0], k.shape[2] == shape[2],
      firstPosition >= 0, firstPosition + k.rows <= layer.capacity
    else {
      throw ComputeError.shapeMismatch(
        operation: "store",
        detail: "rows \(k.shape) at position \(firstPosition) of a cache \(shape)")
    }
    let (heads, capacity, dim) = (shape[0], shape[1], shape[2])
    for (source, target) in [(k, layer.keys), (v, layer.values)] {
      let from = try source.floats("store")
      let to = try target.hostAddress
      let type = target.type
      guard type == .float32 || type == .bfloat16 else {
        throw ComputeError.shapeMismatch(operation: "store", detail: "a cache of \(type)")
      }
      pool.split(k.rows, minimum: 64) { rows in
        for row in rows {
          for head in 0..<heads {
            let element = (head * capacity + firstPosition + row) * dim
            let values = from + (row * heads + head) * dim
            if type == .float32 {
              (to.assumingMemoryBound(to: Float.self) + element).update(from: values, count: dim)
            } else {
              kernels.to_bfloat16(
                values, to.assumingMemoryBound(to: UInt16.self) + element, Int64(dim))
            }
          }
        }
      }
    }
  }
}

/// Cosines and sines of the positions that were asked for last: the queries of a row block follow
/// its keys.
final class RotationTables: Sendable {
  struct Table: Sendable {
    var rotary: RotaryEmbedding
    var firstPosition: Int
    var cosine: [Float]
    var sine: [Float]
  }

  private let last = Mutex<Table?>(nil)

  /// [rows, pairs] each.
  func table(
    _ rotary: RotaryEmbedding, firstPosition: Int, rows: Int, pool: ThreadPool
  ) -> Table {
    let pairs = rotary.inverseFrequencies.count
    if let found = last.withLock({ $0 }), found.firstPosition == firstPosition,
      found.cosine.count == rows * pairs,
      found.rotary == rotary
    {
      return found
    }
    var sine: [Float] = []
    let cosine = [Float](unsafeUninitializedCapacity: rows * pairs) { cosine, cosineCount in
      sine = [Float](unsafeUninitializedCapacity: rows * pairs) { sine, sineCount in
        nonisolated(unsafe) let cosine = cosine
        nonisolated(unsafe) let sine = sine
        rotary.inverseFrequencies.withUnsafeBufferPointer { frequencies in
          pool.split(rows, minimum: 32) { range in
            for row in range {
              let position = Float(firstPosition + row)
              for pair in 0..<pairs {
                let angle = position * frequencies[pair]
                cosine[row * pairs + pair] = cosf(angle) * rotary.attentionScaling
                sine[row * pairs + pair] = sinf(angle) * rotary.attentionScaling
              }
            }
          }
        }
        sineCount = rows * pairs
      }
      cosineCount = rows * pairs
    }
    let made = Table(rotary: rotary, firstPosition: firstPosition, cosine: cosine, sine: sine)
    last.withLock { $0 = made }
    return made
  }
}
