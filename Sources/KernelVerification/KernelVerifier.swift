public import MInference
import StoredNumbers

/// Compares every kernel of a backend with the reference backend, over many shapes.
///
/// Inputs are random but always the same. Every output is filled with NaN before its kernel runs,
/// and so is a row behind it, which must stay so; unused positions of key-value caches hold NaN
/// too. Errors are taken in Double; NaN, a thrown error and a touched guard row are misses.
public struct KernelVerifier {
  let backend: any Backend
  /// What this backend computes in: where it rounds, which widths it takes, which types it stores.
  let precision: KernelPrecision
  var random: SeededGenerator
  var checks: [KernelCheck] = []

  /// Which cases of which kernels are run.
  var choice: CaseChoice

  init(
    backend: any Backend, seed: UInt64 = 1, choice: CaseChoice = CaseChoice(prefix: nil, limit: nil)
  ) {
    self.backend = backend
    precision = KernelPrecision(of: backend)
    self.choice = choice
    random = SeededGenerator(seed: seed)
  }

  /// One entry for each kernel; of a backend whose linear layers are narrow, these alone. Takes a few seconds: the reference is slow on purpose.
  ///
  /// - Parameters:
  ///   - prefix: Only kernels whose names begin so; nil for all.
  ///   - cases: At most so many cases of each kernel, spread over all that there are, and none of
  ///     thousands of tokens: what can be waited for where every access is checked. nil for all.
  public static func verify(
    _ backend: any Backend, seed: UInt64 = 1, prefix: String? = nil, cases: Int? = nil
  ) -> [KernelCheck] {
    var choice = CaseChoice(prefix: prefix, limit: cases)
    if cases != nil {
      var counting = KernelVerifier(backend: backend, seed: seed, choice: choice)
      counting.checkAll()
      choice.takeCounts(counting.choice)
    }
    var verifier = KernelVerifier(backend: backend, seed: seed, choice: choice)
    verifier.checkAll()
    return verifier.checks
  }

  private mutating func checkAll() {
    // All else is the same as of a backend without narrow linear layers, or fp8 operands.
    if hasNarrowLinear {
      checkNarrowLinear()
      checkNarrowDecoding()
      return checkNarrowExperts()
    }
    if backend.attentionPrecision == .fp8 { return checkFloat8Attention() }
    checkLayers()
    checkBlocks()
    checkFloat8Weights()
    checkExperts()
    checkCache()
    checkSharedKeyValues()
    checkAttention()
    checkParts()
    checkRowAttention()
    checkSinks()
    checkDecoding()
    checkSteps()
    checkEstimation()
    checkIndexBuilding()
    checkUploadedIndices()
    checkGathering()
    if choice.allowsLongCases { checkLongAttention() }
  }

  /// The place in ``checks`` of a kernel whose next case is wanted; nil for a case that is not.
  mutating func place(of kernel: String) -> Int? {
    guard choice.takesNext(of: kernel) else { return nil }
    if let place = checks.firstIndex(where: { $0.kernel == kernel }) { return place }
    checks.append(KernelCheck(kernel: kernel))
    return checks.count - 1
  }

  /// Runs `body` on the backend and on the reference and compares the arrays that it returns.
  mutating func check(
    _ kernel: String, _ name: String, tolerance: Double, tile: TileShape? = nil,
    body: (KernelSide) throws -> [[Float]]
  ) {
    guard let number = place(of: kernel) else { return }
    let tile = tile ?? backend.tileShape(headDim: 64)
    let tolerance = max(tolerance, precision.tolerance(of: kernel))
    do {
      let expected = try body(KernelSide(ReferenceBackend(tile: tile), precision))
      let side = KernelSide(backend, precision)
      let actual = try body(side)
      let error =
        actual.count == expected.count
        ? zip(actual, expected).map { KernelCheck.relativeError($0, $1) }.max() ?? 0 : .infinity
      if try side.guardsAreIntact() {
        checks[number].add(name, error: error, tolerance: tolerance)
      } else {
        checks[number].add(
          "\(name): wrote beyond its output", error: .infinity, tolerance: tolerance)
      }
    } catch {
      checks[number].add("\(name): \(error)", error: .infinity, tolerance: tolerance)
    }
  }

  /// Numbers about as a bell curve spreads them (the sum of four uniform ones), with deviation
  /// `magnitude`.
  mutating func numbers(_ count: Int, magnitude: Float = 1) -> [Float] {
    (0..<count).map { _ in
      var sum: Float = 0
      for _ in 0..<4 { sum += Float(random.next(below: 1 << 20)) / Float(1 << 20) - 0.5 }
      return sum * 1.7320508 * magnitude
    }
  }
}

/// A backend with tensors for one case.
final class KernelSide {
  let backend: any Backend
  private let precision: KernelPrecision
  private var guards: [Tensor] = []

  init(_ backend: any Backend, _ precision: KernelPrecision) {
    self.backend = backend
    self.precision = precision
  }

  /// Activations, rounded alike on both sides, or numbers of another type.
  func tensor(_ values: [Float], _ shape: [Int], _ type: DataType? = nil) throws -> Tensor {
    let tensor = try backend.makeTensor(
      type ?? backend.activationType, shape, purpose: "a verified kernel")
    try backend.write(type == nil ? precision.rounded(values) : values, to: tensor)
    return tensor
  }

  /// Numbers as activations hold them.
  func rounded(_ values: [Float]) -> [Float] { precision.rounded(values) }

  /// A tensor of NaN to be filled, followed by a row of NaN that must not be.
  func output(_ shape: [Int], _ type: DataType? = nil) throws -> Tensor {
    let rows = shape.first ?? 1
    let withGuard = try backend.makeTensor(
      type ?? backend.activationType, [rows + 1] + shape.dropFirst(), purpose: "a verified kernel")
    try backend.write(Array(repeating: .nan, count: withGuard.count), to: withGuard)
    guards.append(withGuard.slice(rows: rows..<rows + 1))
    return withGuard.slice(rows: 0..<rows)
  }

  func guardsAreIntact() throws -> Bool {
    try guards.allSatisfy { try backend.read($0).allSatisfy(\.isNaN) }
  }

  /// Weights as a checkpoint stores them. `values` are rounded to the nearest number of `type`.
  func weight(
    _ values: [Float], _ shape: [Int], type: DataType, as role: WeightRole
  ) throws -> Weight {
    try backend.prepare(stored(values, shape, type: type), as: role)
  }

  /// Matrices of experts as a checkpoint stores them, [experts, out, in].
  func experts(_ values: [Float], _ shape: [Int], type: DataType) throws -> ExpertWeights {
    let count = shape[1] * shape[2]
    return try backend.prepareExperts(shape[0]) { expert in
      try stored(
        Array(values[expert * count..<(expert + 1) * count]), [shape[1], shape[2]], type: type)
    }
  }

  private func stored(
    _ values: [Float], _ shape: [Int], type: DataType
  ) throws -> StoredTensor {
    let bytes = StoredBytes(values, type: type)
    return try StoredTensor(
      name: "a verified weight", bytes: bytes.bytes, format: .dense(type), shape: shape,
      owner: bytes)
  }

  /// A cache layer of `capacity` positions, all NaN, with k and v stored from position 0.
  func layer(
    k: [Float], v: [Float], shape: AttentionShape, type: DataType, spare: Int = 3,
    sinks: [Float]? = nil
  ) throws -> KeyValueLayer {
    let row = shape.keyValueHeads * shape.headDim
    let count = k.count / row
    let extents = [shape.keyValueHeads, count + spare, shape.headDim]
    var scales: Tensor?
    if type == .float8 {
      // Powers of two, so that dividing by them rounds nothing.
      let factors = (0..<2 * shape.keyValueHeads).map { Float($0 % 2 == 0 ? 0x1p-6 : 0x1p-5) }
      let tensor = try backend.makeTensor(
        .float32, [2, shape.keyValueHeads], purpose: "verified scales")
      try backend.write(factors, to: tensor)
      scales = tensor
    }
    let layer = KeyValueLayer(
      keys: try backend.makeTensor(type, extents, purpose: "verified keys"),
      values: try backend.makeTensor(type, extents, purpose: "verified values"), count: count,
      scales: scales, sinks: try sinks.map { try tensor($0, [shape.queryHeads], .float32) })
    let nothing = try tensor(
      Array(repeating: .nan, count: (count + spare) * row),
      [count + spare, shape.keyValueHeads, shape.headDim])
    try backend.store(k: nothing, v: nothing, in: layer, firstPosition: 0)
    let extentsOfRows = [count, shape.keyValueHeads, shape.headDim]
    try backend.store(
      k: tensor(k, extentsOfRows), v: tensor(v, extentsOfRows), in: layer, firstPosition: 0)
    return layer
  }
}

/// Numbers in the bytes of a storage type, at an address that stays.
private final class StoredBytes: Sendable {
  nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

  init(_ values: [Float], type: DataType) {
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(1, values.count * type.byteCount), alignment: 64)
    for (index, value) in values.enumerated() {
      let offset = index * type.byteCount
      switch type {
      case .float32, .int32: memory.storeBytes(of: value, toByteOffset: offset, as: Float.self)
      case .bfloat16:
        memory.storeBytes(of: value.bfloat16Bits, toByteOffset: offset, as: UInt16.self)
      case .float16:
        memory.storeBytes(of: value.float16Bits, toByteOffset: offset, as: UInt16.self)
      case .float8:
        memory.storeBytes(of: value.float8Bits, toByteOffset: offset, as: UInt8.self)
      }
    }
    bytes = UnsafeRawBufferPointer(rebasing: memory[..<(values.count * type.byteCount)])
    allocation = memory
  }

  private nonisolated(unsafe) let allocation: UnsafeMutableRawBufferPointer

  deinit { allocation.deallocate() }
}
