internal import CUDASources
internal import Compute
internal import Synchronization

/// Matrix products of linear layers by cuBLASLt, in bfloat16 with float32 sums; how each shape is
/// best computed is asked once and kept.
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

  private struct Plan {
    var description: OpaquePointer?
    var weight: OpaquePointer?
    var x: OpaquePointer?
    var y: OpaquePointer?
    var algorithm: mi_matmul_heuristic
  }

  private let library: CUBLASLt
  private let device: CUDADevice
  private let handle: OpaquePointer?
  private let workspace: DeviceMemory
  private let plans = Mutex<[Shape: Plan]>([:])

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

  /// y = x * transpose(weight) + bias, added to what y holds if `accumulate`; addresses of
  /// bfloat16 but for y, which `shape` says.
  func multiply(
    _ shape: Shape, x: UInt64, weight: UInt64, bias: UInt64?, y: UInt64
  ) throws {
    try device.activate()
    try plans.withLock { plans in
      let plan = try plans[shape] ?? makePlan(shape)
      plans[shape] = plan
      if var bias {
        try library.check(
          "cublasLtMatmulDescSetAttribute",
          library.setDescription(plan.description, Attribute.biasPointer, &bias, 8))
      }
      var one: Float = 1
      var beta: Float = shape.accumulate ? 1 : 0
      var algorithm = plan.algorithm.algorithm
      // Row-major y = x w^T is, column by column, y^T = w x^T.
      let code = library.matmul(
        handle, plan.description, &one, weight, plan.weight, x, plan.x, &beta, y, plan.y, y,
        plan.y, &algorithm, workspace.address, workspace.byteCount, device.stream)
      try library.check("cublasLtMatmul \(shape.rows) x \(shape.outputs) x \(shape.inputs)", code)
    }
  }

  /// Numbers of cublasLt.h and library_types.h.
  private enum Attribute {
    static let transposeA: Int32 = 3
    static let epilogue: Int32 = 7
    static let biasPointer: Int32 = 8
    static let biasType: Int32 = 26
    static let mostWorkspace: Int32 = 1
    static let leastAlignments: [Int32] = [5, 6, 7, 8]
    static let bfloat16: Int32 = 14
    static let float32: Int32 = 0
    static let computeFloat32: Int32 = 68
    static let epilogueBias: Int32 = 4
  }

  private func makePlan(_ shape: Shape) throws -> Plan {
    var plan = Plan(algorithm: mi_matmul_heuristic())
    let outputType = shape.output == .float32 ? Attribute.float32 : Attribute.bfloat16
    try library.check(
      "cublasLtMatmulDescCreate",
      library.createDescription(&plan.description, Attribute.computeFloat32, Attribute.float32))
    func set<Value>(_ attribute: Int32, _ value: Value) throws {
      try withUnsafeBytes(of: value) { bytes in
        guard let start = bytes.baseAddress else { return }
        try library.check(
          "cublasLtMatmulDescSetAttribute",
          library.setDescription(plan.description, attribute, start, bytes.count))
      }
    }
    try set(Attribute.transposeA, Int32(1))
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
    plan.weight = try layout(
      Attribute.bfloat16, shape.inputs, shape.outputs, stride: shape.inputs)
    plan.x = try layout(Attribute.bfloat16, shape.inputs, shape.rows, stride: shape.inputStride)
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
    try library.check(
      "cublasLtMatmulAlgoGetHeuristic \(shape)",
      library.heuristic(
        handle, plan.description, plan.weight, plan.x, plan.y, plan.y, preference, 1,
        &plan.algorithm, &found))
    guard found > 0 else {
      throw CUDAError(
        call: "cublasLtMatmulAlgoGetHeuristic", name: "nothing found", detail: "\(shape)",
        remedy: "update cuBLAS, or report it with the shape of the model")
    }
    return plan
  }
}
