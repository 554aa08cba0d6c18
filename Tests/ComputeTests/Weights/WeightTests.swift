import Compute
import StoredNumbers
import Testing

@Suite struct WeightTests {
  private let backend = ReferenceBackend()

  /// Numbers in memory that lives as long as the owner.
  private func stored(
    _ values: [Float], _ shape: [Int], format: TensorFormat = .dense(.float32), bytes: Int? = nil
  ) throws -> StoredTensor {
    let owner = HostBuffer(byteCount: bytes ?? values.count * 4)
    for (index, value) in values.enumerated() {
      owner.start.storeBytes(of: value, toByteOffset: index * 4, as: Float.self)
    }
    return try StoredTensor(
      name: "layers.0.weight",
      bytes: UnsafeRawBufferPointer(start: owner.start, count: owner.byteCount), format: format,
      shape: shape, owner: owner)
  }

  @Test func `rows of a weight are those of the tensor it was made from`() throws {
    let weight = try backend.prepare(stored([1, 2, 3, 4, 5, 6], [3, 2]), as: .matrix)
    #expect(weight.rows == 3 && weight.rowCount == 2 && weight.count == 6)
    #expect(try backend.read(weight.slice(rows: 1..<3)) == [3, 4, 5, 6])
    let x = try backend.makeTensor(.float32, [1, 2], purpose: "a test")
    try backend.write([1, 10], to: x)
    let y = try backend.makeTensor(.float32, [1, 1], purpose: "a test")
    try backend.linear(
      x, weight: weight.slice(rows: 2..<3), bias: nil, into: y, accumulate: false)
    #expect(try backend.read(y) == [65])
  }

  @Test func `a slice takes its rows' scales with it`() throws {
    let values = try backend.makeTensor(.float8, [4, 16], purpose: "a test")
    let scales = try backend.makeTensor(.float32, [4], purpose: "a test")
    try backend.write([1, 2, 3, 4], to: scales)
    let weight = Weight(
      storage: values.buffer, format: .dense(.float8), scales: scales, shape: [4, 16])
    let part = weight.slice(rows: 1..<3)
    #expect(part.byteOffset == 16 && part.shape == [2, 16])
    #expect(try part.scales.map { try backend.read($0) } == [2, 3])
    // Rows with scales are no plain numbers.
    #expect(part.tensor == nil)
    #expect(throws: ComputeError.self) { try backend.read(part) }
  }

  @Test func `blocks are sliced by whole rows, and refused by their name where numbers are needed`()
    throws
  {
    let format = TensorFormat.blocks(.q80)
    #expect(format.rowByteCount(64) == 68 && format.rowByteCount(65) == nil)
    let storage = HostBuffer(byteCount: 3 * 68)
    let weight = Weight(storage: storage, format: format, shape: [3, 64])
    #expect(weight.slice(rows: 2..<3).byteOffset == 136)
    #expect {
      _ = try stored([], [3, 64], format: format, bytes: 204).denseType(on: backend)
    } throws: {
      "\($0)".contains("Q8_0") && "\($0)".contains("layers.0.weight")
    }
  }

  @Test func `bytes that are not those of the shape are refused`() {
    #expect(throws: ComputeError.self) { try stored([1, 2, 3], [2, 2]) }
    #expect(throws: ComputeError.self) { try stored([1, 2, 3, 4, 5], [2, 2]) }
    #expect(throws: ComputeError.self) {
      try stored([], [1, 33], format: .blocks(.q80), bytes: 34)
    }
  }
}
