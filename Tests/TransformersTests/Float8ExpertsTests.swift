import BackendTesting
import Checkpoints
import Compute
import StoredNumbers
import Synchronization
import Testing
import Transformers

/// A checkpoint of experts with every matrix in float8 and a scale for each block, as Qwen3-30B-A3B-FP8 has
/// them, against the same numbers in float32.
@Suite struct Float8ExpertsTests {
  private static let block = 16

  /// Both checkpoints.
  private func checkpoints() throws -> (float8: TemporaryCheckpoint, wide: TemporaryCheckpoint) {
    var narrow: [SafetensorsWriter.Tensor] = []
    let wide = try TemporaryCheckpoint.experts { tensors in
      for (name, (shape, floats)) in tensors.sorted(by: { $0.key < $1.key }) {
        guard name.contains("_proj.") else {
          narrow.append(.init(name: name, shape: shape, floats: floats))
          continue
        }
        let blocks = Float8Blocks(floats, shape: shape, block: Self.block)
        narrow.append(
          .init(name: name, storedType: "F8_E4M3", shape: shape, bytes: blocks.bytes))
        narrow.append(
          .init(name: name + "_scale_inv", shape: blocks.scaleShape, floats: blocks.scales))
        tensors[name] = (shape, blocks.numbers)
      }
    }
    let float8 = try TemporaryCheckpoint.experts(fields: [
      "quantization_config": #"{"quant_method": "fp8", "weight_block_size": [16, 16]}"#
    ])
    try SafetensorsWriter.write(narrow, to: float8.directory + "/model.safetensors")
    return (float8, wide)
  }

  @Test(arguments: TestBackend.allCases)
  func `experts of float8 compute what the same numbers in float32 compute`(
    backend: TestBackend
  ) throws {
    let (float8, wide) = try checkpoints()
    let ids = TemporaryCheckpoint.ids(90)
    let expected = try score(try wide.load(backend), ids)
    #expect(distance(try score(try float8.load(backend), ids), from: expected, width: 40) < 1e-4)
    // The scales count.
    let source = try TemporaryCheckpoint.experts()
    #expect(distance(try score(try source.load(backend), ids), from: expected, width: 40) > 1e-3)
  }

  @Test func `experts reach a backend as they are stored where it multiplies by float8`() throws {
    let (float8, _) = try checkpoints()
    let backend = ExpertRecorder(try TestBackend.cpu.make())
    _ = try Transformer(checkpoint: try Checkpoint(directory: float8.directory), backend: backend)
    // Gate, up and down of four experts.
    #expect(backend.formats.count == 12)
    #expect(backend.formats.allSatisfy { $0 == .dense(.float8) })
  }
}

/// A matrix in float8 with a scale for each block, and the numbers that it holds.
private struct Float8Blocks {
  var bytes: [UInt8] = []
  var scales: [Float] = []
  var scaleShape: [Int]
  var numbers: [Float] = []

  init(_ values: [Float], shape: [Int], block: Int) {
    let across = (shape[1] + block - 1) / block
    scaleShape = [(shape[0] + block - 1) / block, across]
    scales = Array(repeating: 0, count: scaleShape[0] * across)
    for (index, value) in values.enumerated() {
      let place = index / shape[1] / block * across + index % shape[1] / block
      scales[place] = max(scales[place], abs(value) / 448)
    }
    for (index, value) in values.enumerated() {
      let scale = scales[index / shape[1] / block * across + index % shape[1] / block]
      let bits = (value / scale).float8Bits
      bytes.append(bits)
      numbers.append(Float(float8Bits: bits) * scale)
    }
  }
}

/// Notes how matrices of experts are stored.
private final class ExpertRecorder: ForwardingBackend, @unchecked Sendable {
  private let seen = Mutex<[TensorFormat]>([])
  var formats: [TensorFormat] { seen.withLock { $0 } }

  override func prepareExperts(
    _ count: Int, _ matrix: (_ expert: Int) throws -> StoredTensor
  ) throws -> ExpertWeights {
    try base.prepareExperts(count) { expert in
      let stored = try matrix(expert)
      seen.withLock { $0.append(stored.format) }
      return stored
    }
  }
}
