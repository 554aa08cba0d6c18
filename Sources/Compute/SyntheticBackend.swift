/// A backend that fills tensors with made-up numbers where they are: models of billions of weights
/// whose speed is to be measured, and whose checkpoint nobody has.
package protocol SyntheticBackend: Backend {
  /// The most bytes of the device that tensors have taken at once.
  var peakBytes: Int { get }

  /// Makes ``DeviceOperations/availableMemory()`` say what would be free if the device had so many bytes.
  func limitMemory(to bytes: Int)

  /// The name of the kernel that attention of many rows with such heads is left to.
  func attentionKernel(headDim: Int) -> String

  /// A tensor of about normal numbers with this deviation; the same for the same seed.
  func makeRandom(
    _ type: DataType, _ shape: [Int], deviation: Float, seed: UInt64, purpose: String
  ) throws -> Tensor

  /// Copies all bytes of a tensor to one of the same size.
  func copy(_ x: Tensor, to y: Tensor) throws

  /// Token ids on the device.
  func makeIDs(_ ids: [Int32]) throws -> Tensor

  /// x[r] = table[ids[r]] for ids of ``makeIDs(_:)``: embedding without uploading the ids.
  func embed(uploaded ids: Tensor, table: Tensor, into x: Tensor) throws

  /// Ways of the device's library to compute y = x * transpose(weight), in bfloat16 and without an
  /// epilogue: what linear layers are measured against. At most `count`, what it thinks best first.
  func bareProducts(
    _ x: Tensor, weight: Tensor, into y: Tensor, count: Int
  ) throws -> [() throws -> Void]

  /// Fills q, [rows, queryHeads, headDim]: row r of the last 64 positions before `keys` asks for
  /// dimension r of the keys alone; rows before repeat that every 64 positions.
  func injectQueries(
    _ q: Tensor, firstPosition: Int, keys: Int, magnitude: Float) throws

  /// Fills k, [rows, keyValueHeads, headDim], so that row r of the last 64 positions before `keys`
  /// scores key j with offsetScores[head][keys - 64 + r - j] + columnScores[head][j], and a little
  /// noise. Of a negative offset score the larger one of its magnitude and the column's score stands alone. Both tables: [keyValueHeads, keys] float32; headDim is at least 64.
  func injectKeys(
    _ k: Tensor, firstPosition: Int, offsetScores: Tensor, columnScores: Tensor, seed: UInt64
  ) throws
}
