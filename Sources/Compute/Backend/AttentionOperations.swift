/// Keys and values, and attention over them.
public protocol AttentionOperations: AnyObject, Sendable {
  /// Stores rows of keys and values at positions firstPosition ..< firstPosition + rows.
  /// k, v: [rows, keyValueHeads, headDim].
  func store(k: Tensor, v: Tensor, in layer: KeyValueLayer, firstPosition: Int) throws

  /// Sparse causal attention of consecutive rows: o = softmax(scale * q k^T over the index) v.
  ///
  /// Where the layer has sinks (``KeyValueLayer/sinks``), a head's softmax is over its sink too, and so is the
  /// log-sum-exp; o of a row is that of its keys alone times sigmoid(log-sum-exp of the keys - sink).
  ///
  /// - q, o: [rows, queryHeads, headDim]; they may be the same tensor. Row r stands at position
  ///   firstPosition + r; the positions must lie inside the index's.
  /// - logSumExp: [rows, queryHeads] float32, natural logarithm, or nil.
  /// - A row without keys gives o = 0 and log-sum-exp = -infinity, or its sink.
  func attention(
    q: Tensor, firstPosition: Int, layer: KeyValueLayer, shape: AttentionShape,
    index: SparseIndex, into o: Tensor, logSumExp: Tensor?) throws

  /// Dense causal attention of a few rows at any positions (decode, recall), sinks included.
  ///
  /// q, o: [rows, queryHeads, headDim]; row r sees keys j <= positions[r] (and the window);
  /// logSumExp: [rows, queryHeads] or nil. positions are below layer.count.
  func rowAttention(
    q: Tensor, positions: [Int], layer: KeyValueLayer, shape: AttentionShape, into o: Tensor,
    logSumExp: Tensor?) throws

  /// Joins two attentions of the same rows over disjoint keys: o becomes what attention over the
  /// keys of both gives, and so does `whole`; sinks may be in one of them. o, part: [rows, queryHeads, headDim]; log-sum-exps:
  /// [rows, queryHeads] float32.
  func mergeAttention(
    _ part: Tensor, logSumExp: Tensor, into o: Tensor, logSumExp whole: Tensor) throws
}
