internal import CUDASources
internal import Compute
internal import Synchronization

/// Matrix products of linear layers by cuBLASLt, of bfloat16 or of float8 (e4m3) with a factor for each row
/// of x and of the weight, with float32 sums; how each shape is best computed is asked once and kept.
final class LinearLayers: @unchecked Sendable {
  /// What decides a plan.
  struct Shape: Hashable {
    /// Rows of x, outputs and inputs of the weight.
    var rows: Int
    var outputs: Int
    var inputs: Int
    /// Elements from one row to the next.
    var inputStride: Int
    var outputStride: Int
    /// Of x and of the weight: bfloat16 or float8.
    var input = DataType.bfloat16
    var output: DataType
    var accumulate: Bool
    var hasBias: Bool
    /// What all addresses are multiples of, up to 256 bytes: the library chooses by it.
    var alignment: Int
  }

  /// The largest power of two up to 256 that divides all addresses.
  static func alignment(of addresses: [UInt64]) -> Int {
    1 << min(8, addresses.reduce(0, |).trailingZeroBitCount)
  }

  /// Where the operands lie: bfloat16 but for what the shape says otherwise.
  struct Operands {
    var x: UInt64
    var weight: UInt64
    var y: UInt64
    /// [outputs] bfloat16.
    var bias: UInt64?
    /// [rows] and [outputs] float32, for float8.
    var xScales: UInt64?
    var weightScales: UInt64?
  }

  /// How to compute a shape.
  struct Plan {
    fileprivate let descriptors: Descriptors
    fileprivate var algorithm: mi_matmul_heuristic
  }

  /// What the library is told of a product. Plans of one shape share it; it is destroyed with the last.
  fileprivate final class Descriptors {
    private let library: CUBLASLt
    var product: OpaquePointer?
    var weight: OpaquePointer?
    var x: OpaquePointer?
    var y: OpaquePointer?

    init(_ library: CUBLASLt) { self.library = library }

    deinit {
      if let product { _ = library.destroyDescription(product) }
      for layout in [weight, x, y].compactMap({ $0 }) { _ = library.destroyLayout(layout) }
    }
  }

  /// Plans by shape: as many as the linear layers of a model have for dozens of row counts. Prompts of
  /// ever new lengths do not let them grow.
  private struct Plans {
    /// nil: the library computes nothing of that shape.
    private var plans: [Shape: Plan?] = [:]
    /// Shapes in the order in which they came.
    private var shapes: [Shape] = []
    private static let most = 1024

    subscript(shape: Shape) -> Plan?? { plans[shape] }

    mutating func insert(_ plan: Plan?, for shape: Shape) {
      if shapes.count >= Self.most { plans[shapes.removeFirst()] = nil }
      shapes.append(shape)
      plans.updateValue(plan, forKey: shape)
    }
  }

  private let library: CUBLASLt
  private let device: CUDADevice
  private let handle: OpaquePointer?
  private let workspace: DeviceMemory
  private let plans = Mutex(Plans())

  /// Bytes for products that are divided over their inner extent; what NVIDIA advises for Hopper.
  private static let workspaceBytes = 32 << 20

  init(device: CUDADevice) throws {
    self.device = device
    library = try CUBLASLt()
    try device.activate()
    var handle: OpaquePointer?
    try library.check("cublasLtCreate", library.create(&handle))
    self.handle = handle
    workspace = try DeviceMemory(
      Self.workspaceBytes, on: device, purpose: "matrix products")
  }

  /// Whether the library has the scales of float8 operands that ``multiply(_:_:)`` wants.
  var multipliesFloat8: Bool {
    device.architecture == 90 && library.version >= Self.leastVersionForFloat8
  }

  /// 12.9; an older one has one factor for a whole matrix.
  private static let leastVersionForFloat8 = 120_900

  /// 120900 for cuBLASLt 12.9.
  var version: Int { library.version }

  /// Whether the library has a way to compute a shape.
  func computes(_ shape: Shape) throws -> Bool {
    try device.activate()
    return try plans.withLock { try plan(shape, in: &$0) != nil }
  }

  /// y = x * transpose(weight) + bias, added to what y holds if the shape says so.
  func multiply(_ shape: Shape, _ operands: Operands) throws {
    try device.activate()
    try plans.withLock { plans in
      guard let plan = try plan(shape, in: &plans) else {
        throw CUDAError(
          call: "cublasLtMatmulAlgoGetHeuristic", name: "nothing found", detail: "\(shape)",
          remedy: "update cuBLAS, or report it with the shape of the model")
      }
      try run(plan, shape, operands)
    }
  }

  /// The ways to compute a shape that the library thinks best, the best first; for measuring.
  func candidates(_ shape: Shape, count: Int) throws -> [Plan] {
    try device.activate()
    return try makePlans(shape, count: count)
  }

  /// The same product by one of the ``candidates(_:count:)``.
  func multiply(_ shape: Shape, _ operands: Operands, by plan: Plan) throws {
    try device.activate()
    try plans.withLock { _ in try run(plan, shape, operands) }
  }

  private func plan(_ shape: Shape, in plans: inout Plans) throws -> Plan? {
    if let known = plans[shape] { return known }
    let plan = try makePlans(shape, count: 1).first
    plans.insert(plan, for: shape)
    return plan
  }

  /// Descriptions are shared, so one thread at a time.
  private func run(_ plan: Plan, _ shape: Shape, _ operands: Operands) throws {
    for (attribute, pointer) in [
      (Attribute.biasPointer, operands.bias), (Attribute.scalesOfA, operands.weightScales),
      (Attribute.scalesOfB, operands.xScales),
    ] {
      guard var pointer else { continue }
      try library.check(
        "cublasLtMatmulDescSetAttribute",
        library.setDescription(plan.descriptors.product, attribute, &pointer, 8))
    }
    var one: Float = 1
    var beta: Float = shape.accumulate ? 1 : 0
    var algorithm = plan.algorithm.algorithm
    // Row-major y = x w^T is, column by column, y^T = w x^T.
    let code = library.matmul(
      handle, plan.descriptors.product, &one, operands.weight, plan.descriptors.weight, operands.x,
      plan.descriptors.x, &beta, operands.y, plan.descriptors.y, operands.y, plan.descriptors.y,
      &algorithm, workspace.address, workspace.byteCount, device.stream)
    try library.check("cublasLtMatmul \(shape.rows) x \(shape.outputs) x \(shape.inputs)", code)
  }

  /// Numbers of cublasLt.h and library_types.h.
  private enum Attribute {
    static let transposeA: Int32 = 3
    static let epilogue: Int32 = 7
    static let biasPointer: Int32 = 8
    static let biasType: Int32 = 26
    static let scalesOfA: Int32 = 17
    static let scalesOfB: Int32 = 18
    static let fastSums: Int32 = 25
    static let scaleModeOfA: Int32 = 31
    static let scaleModeOfB: Int32 = 32
    /// A factor for each row of A, and for each column of B.
    static let outerVectors: Int32 = 3
    static let mostWorkspace: Int32 = 1
    static let leastAlignments: [Int32] = [5, 6, 7, 8]
    static let bfloat16: Int32 = 14
    static let float8: Int32 = 28
    static let float32: Int32 = 0
    static let computeFloat32: Int32 = 68
    static let epilogueBias: Int32 = 4
  }

  /// Up to `count` plans; none where the library computes nothing of that shape.
  private func makePlans(_ shape: Shape, count: Int) throws -> [Plan] {
    // Destroyed with what was made of it, wherever an error leaves.
    let plan = Descriptors(library)
    let inputType = shape.input == .float8 ? Attribute.float8 : Attribute.bfloat16
    let outputType = shape.output == .float32 ? Attribute.float32 : Attribute.bfloat16
    try library.check(
      "cublasLtMatmulDescCreate",
      library.createDescription(&plan.product, Attribute.computeFloat32, Attribute.float32))
    func set<Value>(_ attribute: Int32, _ value: Value) throws {
      try withUnsafeBytes(of: value) { bytes in
        guard let start = bytes.baseAddress else { return }
        try library.check(
          "cublasLtMatmulDescSetAttribute",
          library.setDescription(plan.product, attribute, start, bytes.count))
      }
    }
    try set(Attribute.transposeA, Int32(1))
    if shape.input == .float8 {
      // Tensor cores then add up in fewer bits than float32, which costs 0.1 to 0.3 % of a result (norm of
      // the error; quantization costs 3.7 %) and saves an eighth to a sixth of the time on an H100.
      try set(Attribute.fastSums, Int8(1))
      try set(Attribute.scaleModeOfA, Attribute.outerVectors)
      try set(Attribute.scaleModeOfB, Attribute.outerVectors)
      try set(Attribute.scalesOfA, workspace.address)
      try set(Attribute.scalesOfB, workspace.address)
    }
    if shape.hasBias {
      try set(Attribute.epilogue, Attribute.epilogueBias)
      try set(Attribute.biasType, Attribute.bfloat16)
      try set(Attribute.biasPointer, workspace.address)
    }
    func layout(_ type: Int32, _ rows: Int, _ columns: Int, stride: Int) throws -> OpaquePointer? {
      var layout: OpaquePointer?
      try library.check(
        "cublasLtMatrixLayoutCreate",
        library.createLayout(&layout, type, UInt64(rows), UInt64(columns), Int64(stride)))
      return layout
    }
    plan.weight = try layout(inputType, shape.inputs, shape.outputs, stride: shape.inputs)
    plan.x = try layout(inputType, shape.inputs, shape.rows, stride: shape.inputStride)
    plan.y = try layout(outputType, shape.outputs, shape.rows, stride: shape.outputStride)
    var preference: OpaquePointer?
    try library.check("cublasLtMatmulPreferenceCreate", library.createPreference(&preference))
    defer { _ = library.destroyPreference(preference) }
    var bytes = UInt64(Self.workspaceBytes)
    try library.check(
      "cublasLtMatmulPreferenceSetAttribute",
      library.setPreference(preference, Attribute.mostWorkspace, &bytes, 8))
    var alignment = UInt32(shape.alignment)
    for operand in Attribute.leastAlignments {
      try library.check(
        "cublasLtMatmulPreferenceSetAttribute",
        library.setPreference(preference, operand, &alignment, 4))
    }
    var found: Int32 = 0
    var algorithms = [mi_matmul_heuristic](repeating: mi_matmul_heuristic(), count: count)
    let code = library.heuristic(
      handle, plan.product, plan.weight, plan.x, plan.y, plan.y, preference, Int32(count),
      &algorithms, &found)
    if Self.notSupported.contains(code) { return [] }
    try library.check("cublasLtMatmulAlgoGetHeuristic \(shape)", code)
    return algorithms.prefix(Int(found)).map { Plan(descriptors: plan, algorithm: $0) }
  }

  /// CUBLAS_STATUS_NOT_SUPPORTED of cublas_api.h, and CUBLAS_STATUS_INVALID_VALUE, which also says so.
  private static let notSupported: [Int32] = [15, 7]
}
