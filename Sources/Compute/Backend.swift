/// A device that models and estimators run on.
///
/// Everything in which devices differ begins here. Operations take and fill tensors that the same
/// backend made; they check shapes and throw ``ComputeError``, and run in the order given,
/// though not always before the call returns: ``read(_:)`` and ``finish()`` wait. Activations are of
/// ``activationType``, row-major, one token a row.
public protocol Backend: AnyObject, Sendable {
  /// What the user calls it: "cpu", "cuda", "reference".
  var name: String { get }

  /// What the user should know about this device, one line each: a missing BLAS, for example.
  var notices: [String] { get }

  /// The tile that this backend's attention kernel computes as a unit, for heads of `headDim`.
  func tileShape(headDim: Int) -> TileShape

  /// What hidden states, queries, keys and values before storage, and gates are stored as.
  var activationType: DataType { get }

  /// Throws ``ComputeError/unavailable(what:remedy:)`` for a model that this backend has no kernels
  /// for, before anything of it is loaded.
  ///
  /// - widths: Elements of the rows that layers read and write.
  func requireSupport(of shape: AttentionShape, widths: [Int]) throws

  /// Rows of activations that are best worked on at once.
  var rowBlock: Int { get }

  /// What ``attention(q:firstPosition:layer:shape:index:into:logSumExp:)`` multiplies.
  var attentionPrecision: AttentionPrecision { get }

  /// Bytes that attention of many rows takes for each key beside its tensors.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` where ``attentionPrecision`` is not to be had
  ///   for heads of this size.
  func attentionBytesPerKey(_ shape: AttentionShape) throws -> Int

  /// Bytes free on a device with memory of its own, and in the host's memory; nil where they are one.
  func availableMemory() throws -> (device: Int, host: Int)?

  // MARK: Order and time

  /// Waits until everything asked for so far is done; throws what went wrong meanwhile.
  func finish() throws

  /// Waits until all but the latest work is done, so that progress and cancellation stay close to
  /// the truth on a device that works behind the caller.
  func limitWorkAhead() throws

  /// A new watch at zero.
  func makeStopwatch() -> any WorkStopwatch

  // MARK: Memory

  /// An uninitialised tensor. Throws ``ComputeError/outOfMemory(wantedBytes:purpose:)``.
  func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor

  /// A tensor over existing host memory (a mapped weight file). `owner` keeps it alive; a backend
  /// with memory of its own copies.
  func makeTensor(
    over bytes: UnsafeRawBufferPointer, type: DataType, shape: [Int],
    owner: any AnyObject & Sendable
  ) throws -> Tensor

  /// All elements as float32, in order. Waits for earlier operations.
  func read(_ tensor: Tensor) throws -> [Float]

  /// Where a sequence's keys and values are to live. Layers have `extents` [keyValueHeads,
  /// capacity, headDim] each.
  func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions
  ) throws -> any KeyValueStore

  /// Fills a float32 tensor, or one of ``activationType``, from `values`, of the same count; a
  /// backend that keeps float8 also fills those.
  func write(_ values: [Float], to tensor: Tensor) throws

  // MARK: Layers

  /// x[r] = table[ids[r]]. ids: rows, each in 0 ..< vocabulary; table: [vocabulary, hidden].
  func embed(_ ids: [Int32], table: Tensor, into x: Tensor) throws

  /// y[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * weight. x, y: [rows, hidden]; may be the same.
  func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) throws

  /// y = x * transpose(weight) + bias, added to what y holds if `accumulate`.
  /// x: [rows, in]; weight: [out, in] in any type; bias: [out]; y: [rows, out].
  func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, into y: Tensor, accumulate: Bool) throws

  /// A matrix of a layer, [out, in], as this backend multiplies by it: the matrix itself, or a
  /// narrower form that takes its place. Embeddings and output layers stay as they are.
  func makeLinearWeight(_ weight: Tensor) throws -> Tensor

  /// An uninitialised tensor, [rows, in], for what goes into linear layers with such weights: filled by
  /// ``rmsNorm(_:weight:epsilon:into:)`` or ``swiGLU(gate:up:into:)`` and read by
  /// ``linear(_:weight:bias:into:accumulate:)``. Of ``activationType``, or narrower.
  func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor

  /// Turns x in place. x: [rows, heads, headDim]; row r stands at position firstPosition + r.
  func rotate(_ x: Tensor, _ rotary: RotaryEmbedding, firstPosition: Int) throws

  /// gate = silu(gate) * up. Both [rows, intermediate].
  func swiGLU(gate: Tensor, up: Tensor) throws

  /// input = silu(gate) * up, all [rows, intermediate], into a tensor of ``makeLinearInput(_:purpose:)``.
  func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws

  /// y += x, of equal shapes.
  func add(_ x: Tensor, to y: Tensor) throws

  /// What logits foretell, row by row: the likeliest id (the lowest of several), and the natural
  /// logarithm of the probability of the id that came.
  ///
  /// logits: [rows, vocabulary] float32; next: rows, each in 0 ..< vocabulary, or negative where
  /// nothing came (then 0). Throws ``ComputeError/shapeMismatch(operation:detail:)`` for ids or
  /// shapes that do not fit.
  func scoreTokens(
    logits: Tensor, next: [Int32]
  ) throws -> (likeliest: [Int32], logProbabilities: [Float])

  /// For each row of logits, [rows, vocabulary] float32, the id of the largest one, the lowest of equals;
  /// nil for a row with NaN or positive infinity, or with negative infinity alone. Waits.
  func mostLikely(_ logits: Tensor) throws -> [Int32?]

  /// For each row of logits, [rows, vocabulary] float32, the id that its 64 random bits draw; nil for a
  /// row as above. The same on every backend, bit for bit. Waits.
  func draw(_ draw: TokenDraw, from logits: Tensor, random: [UInt64]) throws -> [Int32?]

  /// Divides the logits of these ids by the penalty where they are positive, and multiplies them otherwise,
  /// in every row of [rows, vocabulary] float32. ids: distinct, each in 0 ..< vocabulary.
  func penalize(_ ids: [Int32], in logits: Tensor, by penalty: Float) throws

  // MARK: Attention

  /// Stores rows of keys and values at positions firstPosition ..< firstPosition + rows.
  /// k, v: [rows, keyValueHeads, headDim].
  func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws

  /// Sparse causal attention of consecutive rows: o = softmax(scale * q k^T over the index) v.
  ///
  /// - q, o: [rows, queryHeads, headDim]; they may be the same tensor. Row r stands at position
  ///   firstPosition + r; the positions must lie inside the index's.
  /// - logSumExp: [rows, queryHeads] float32, natural logarithm, or nil.
  /// - A row without keys gives o = 0 and log-sum-exp = -infinity.
  func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?) throws

  /// Dense causal attention of a few rows at any positions (decode, recall).
  ///
  /// q, o: [rows, queryHeads, headDim]; row r sees keys j <= positions[r] (and the window);
  /// logSumExp: [rows, queryHeads] or nil. positions are below layer.count.
  func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?) throws

  /// Joins two attentions of the same rows over disjoint keys: o becomes what attention over the
  /// keys of both gives, and so does `whole`. o, part: [rows, queryHeads, headDim]; log-sum-exps:
  /// [rows, queryHeads] float32.
  func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor) throws

  // MARK: Estimation primitives

  /// Softmax mass that the given last rows put on every column and on every offset.
  ///
  /// q: [rows, queryHeads, headDim], rows <= 64, row r at position firstPosition + r, the last one
  /// at keys - 1 where keys = firstPosition + rows <= layer.count. `heads` are the query heads
  /// wanted. For each: P = softmax(scale * q k^T) over j <= i, then
  /// vertical[j] = sum over rows of P[i, j], slash[o] = sum over rows of P[i, i - o]; both have
  /// `keys` entries. Source: MInference, section 3.2 and algorithm 2.
  func lastRowSums(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape, heads: [Int]
  ) throws -> [LastRowSums]

  /// Mean of each block of `blockSize` rows, for every head; the last block may be short (its mean
  /// is over the rows it has). x: [rows, heads, headDim]; result: [heads][blocks * headDim].
  func meanPooled(_ x: Tensor, blockSize: Int) throws -> [[Float]]

  /// The same over the keys 0 ..< count of a layer; result: [keyValueHeads][blocks * headDim].
  func meanPooledKeys(_ layer: KeyValueLayer, count: Int, blockSize: Int) throws -> [[Float]]
}

/// Column sums and offset sums of the attention of a prompt's last rows, for one query head.
public struct LastRowSums: Sendable {
  /// Mass on key column j; `keys` entries.
  public var vertical: [Float]
  /// Mass on offset o = i - j; `keys` entries.
  public var slash: [Float]

  public init(vertical: [Float], slash: [Float]) {
    self.vertical = vertical
    self.slash = slash
  }
}

/// Adds up the time that a backend spends in some parts of its work.
public protocol WorkStopwatch: AnyObject {
  /// Runs `work` and counts the time between its first and its last operation on the device, also
  /// when it throws.
  func time<Result>(_ work: () throws -> Result) rethrows -> Result

  /// Seconds so far. On a device that works behind the caller, waits for it.
  var seconds: Double { get }
}

/// A watch for backends that finish each operation before it returns.
public final class HostStopwatch: WorkStopwatch {
  public private(set) var seconds = 0.0

  public init() {}

  public func time<Result>(_ work: () throws -> Result) rethrows -> Result {
    let start = ContinuousClock.now
    defer {
      let duration = ContinuousClock.now - start
      seconds +=
        Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }
    return try work()
  }
}

/// What backends on the processor have in common.
extension Backend {
  public var notices: [String] { [] }
  public var activationType: DataType { .float32 }
  public var rowBlock: Int { 2048 }
  public func requireSupport(of shape: AttentionShape, widths: [Int]) throws {}
  public var attentionPrecision: AttentionPrecision { .native }
  public func attentionBytesPerKey(_ shape: AttentionShape) throws -> Int { 0 }
  public func availableMemory() throws -> (device: Int, host: Int)? { nil }
  public func finish() throws {}
  public func limitWorkAhead() throws {}
  public func makeStopwatch() -> any WorkStopwatch { HostStopwatch() }

  public func makeLinearWeight(_ weight: Tensor) throws -> Tensor { weight }

  public func makeLinearInput(_ shape: [Int], purpose: String) throws -> Tensor {
    try makeTensor(activationType, shape, purpose: purpose)
  }

  public func swiGLU(gate: Tensor, up: Tensor, into input: Tensor) throws {
    throw ComputeError.shapeMismatch(
      operation: "swiGLU", detail: "\(name) has no narrow inputs of linear layers")
  }

  public func mostLikely(_ logits: Tensor) throws -> [Int32?] {
    let values = try read(logits)
    return (0..<logits.rows).map { row in
      let start = row * logits.rowCount
      var best = -Float.infinity
      var id: Int32?
      for (place, logit) in values[start..<start + logits.rowCount].enumerated() {
        guard logit < .infinity else { return nil }
        if logit > best { (best, id) = (logit, Int32(place)) }
      }
      return id
    }
  }

  public func add(_ x: Tensor, to y: Tensor) throws {
    guard x.shape == y.shape else {
      throw ComputeError.shapeMismatch(operation: "add", detail: "x \(x.shape), y \(y.shape)")
    }
    try write(zip(try read(x), try read(y)).map { $0 + $1 }, to: y)
  }

  public func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor
  ) throws {
    let heads = logSumExp.count
    guard part.shape == o.shape, logSumExp.shape == whole.shape, heads > 0,
      part.count % heads == 0
    else {
      throw ComputeError.shapeMismatch(
        operation: "mergeAttention",
        detail: "part \(part.shape) with \(logSumExp.shape), o \(o.shape) with \(whole.shape)")
    }
    let merged = AttentionMerging.merged(
      (try read(part), try read(logSumExp)), (try read(o), try read(whole)))
    try write(merged.o, to: o)
    try write(merged.logSumExp, to: whole)
  }

  // Means are small beside what they are made of: backends without a kernel for them read and divide.

  public func meanPooled(_ x: Tensor, blockSize: Int) throws -> [[Float]] {
    try require(
      x.shape.count == 3 && blockSize > 0, "meanPooled", "x \(x.shape), block size \(blockSize)")
    return ReferenceEstimation.meanPooled(
      try read(x), rows: x.shape[0], heads: x.shape[1], headDim: x.shape[2], blockSize: blockSize)
  }

  public func meanPooledKeys(
    _ layer: KeyValueLayer, count: Int, blockSize: Int
  ) throws -> [[Float]] {
    try require(
      count >= 0 && count <= layer.count && blockSize > 0, "meanPooledKeys",
      "\(count) of \(layer.count) keys, block size \(blockSize)")
    return ReferenceEstimation.meanPooledKeys(
      try read(layer.keys), capacity: layer.capacity, count: count,
      keyValueHeads: layer.keys.shape[0], headDim: layer.keys.shape[2], blockSize: blockSize)
  }

  public func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions
  ) throws -> any KeyValueStore {
    try TensorKeyValueStore(layers: layers, extents: extents, options: options, backend: self)
  }
}
