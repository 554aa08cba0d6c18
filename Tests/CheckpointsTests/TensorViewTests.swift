import Checkpoints
import StoredNumbers
import Testing

@Suite struct TensorViewTests {
  private func opened(_ tensors: [SafetensorsWriter.Tensor]) throws -> SafetensorsFile {
    let directory = try TemporaryDirectory()
    try directory.write(tensors, to: "a.safetensors")
    // The mapping outlives the name of the file.
    return try SafetensorsFile(path: directory.path(of: "a.safetensors"))
  }

  @Test(arguments: ElementType.allCases)
  func `Small whole numbers and fractions survive every element type`(type: ElementType) throws {
    let floats: [Float] = [0, -0.0, 1, -2, 0.5, 96, -1.5, 0x1p-8]
    let file = try opened([.init(name: "t", shape: [2, 4], floats: floats, as: type)])
    let tensor = try #require(try file.tensor(named: "t"))
    #expect(tensor.shape == [2, 4])
    #expect(tensor.format == .dense(type))
    #expect(tensor.count == 8)
    #expect(tensor.bytes.count == 8 * type.byteCount)
    #expect(tensor.floats().map(\.bitPattern) == floats.map(\.bitPattern))
  }

  @Test func `A view keeps the mapping alive after its file object is gone`() throws {
    let tensor = try #require(
      try opened([.init(name: "t", shape: [3], floats: [7, 8, 9])]).tensor(named: "t"))
    #expect(tensor.floats() == [7, 8, 9])
  }

  @Test func `An empty tensor has no elements`() throws {
    let tensor = try #require(
      try opened([.init(name: "t", shape: [0, 5], floats: [])]).tensor(named: "t"))
    #expect(tensor.floats().isEmpty)
    #expect(tensor.firstNonFiniteIndex() == nil)
  }

  @Test func `Half precision widens exactly, subnormals and infinities included`() {
    #expect(Float(float16Bits: 0x0001) == 0x1p-24)
    #expect(Float(float16Bits: 0x83FF) == -0x1.ff8p-15)
    #expect(Float(float16Bits: 0x0400) == 0x1p-14)
    #expect(Float(float16Bits: 0x7BFF) == 65504)
    #expect(Float(float16Bits: 0xFC00) == -.infinity)
    #expect(Float(float16Bits: 0x7E00).isNaN)
  }

  @Test func `Every half-precision number comes back from rounding as it was`() {
    for bits in UInt16.min...UInt16.max {
      let value = Float(float16Bits: bits)
      if value.isNaN {
        #expect(Float(float16Bits: value.float16Bits).isNaN)
      } else if value.float16Bits != bits {
        Issue.record("\(bits) became \(value.float16Bits)")
      }
    }
  }

  @Test func `Rounding goes to the nearest, ties to even`() {
    #expect(Float(1 + 0x1p-8).bfloat16Bits == 0x3F80)
    #expect(Float(1 + 0x3p-8).bfloat16Bits == 0x3F82)
    #expect(Float(1 + 0x1p-11).float16Bits == 0x3C00)
    #expect(Float(1 + 0x3p-11).float16Bits == 0x3C02)
    #expect(Float(65519).float16Bits == 0x7BFF)
    #expect(Float(65520).float16Bits == 0x7C00)
    #expect(Float(0x1p-25).float16Bits == 0)
  }

  @Test(arguments: ElementType.allCases, [Float.nan, .infinity, -.infinity])
  func `The first element that is not finite is found`(type: ElementType, bad: Float) throws {
    var floats = [Float](repeating: 3, count: 10_000)
    let clean = try #require(
      try opened([.init(name: "t", shape: [10_000], floats: floats, as: type)]).tensor(named: "t"))
    #expect(clean.firstNonFiniteIndex() == nil)
    floats[9_000] = bad
    floats[9_999] = bad
    let tensor = try #require(
      try opened([.init(name: "t", shape: [10_000], floats: floats, as: type)]).tensor(named: "t"))
    #expect(tensor.firstNonFiniteIndex() == 9_000)
  }

  @Test func `Types other than the three floats may be there but not asked for`() throws {
    let file = try opened([
      .init(name: "ids", storedType: "I64", shape: [1], bytes: [UInt8](repeating: 0, count: 8)),
      .init(name: "t", shape: [1], floats: [1]),
    ])
    #expect(file.contains("ids"))
    #expect(try file.tensor(named: "t")?.floats() == [1])
    #expect(try file.tensor(named: "other")?.name == nil)
    let error = failure { () throws(CheckpointError) in try file.tensor(named: "ids") }
    #expect(isOneLine(error, naming: "a.safetensors", "ids", "I64", "BF16"))
  }
}
