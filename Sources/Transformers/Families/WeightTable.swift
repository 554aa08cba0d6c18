/// Where the weights of a family lie in its checkpoints.
///
/// A projection is stored as `name.weight`, [outputs, inputs], and, where biased, `name.bias`,
/// [outputs]; a norm under its whole name. Names below `layer` are those of layer n behind the prefix
/// `layer` + "n.". The defaults are Llama's.
struct WeightTable: Sendable {
  var embedding = "model.embed_tokens.weight"
  var layer = "model.layers."
  var inputNorm = "input_layernorm.weight"
  /// Queries, keys and values.
  var qkv = ProjectionNames.separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])
  /// The norms of each query head and key head before rotation; nil without them.
  var headNorms: (q: String, k: String)?
  var o = "self_attn.o_proj"
  /// Logits of attention sinks, one for each query head; nil without them.
  var sinks: String?
  /// The norm of the attention output before the residual addition; nil without one.
  var attentionOutputNorm: String?
  var postAttentionNorm = "post_attention_layernorm.weight"
  var gateUp = ProjectionNames.separate(["mlp.gate_proj", "mlp.up_proj"])
  var down = "mlp.down_proj"
  /// Of layers with experts.
  var experts = ExpertNames()
  /// The norm of the MLP output before the residual addition; nil without one.
  var feedForwardOutputNorm: String?
  var norm = "model.norm.weight"
  /// Not there when the embedding is the output layer too.
  var output = "lm_head.weight"
}

/// Projections of the same input, in a given order.
enum ProjectionNames: Sendable {
  /// A tensor each.
  case separate([String])
  /// One tensor in which the rows of each lie above those of the next.
  case stacked(String)
}

/// Where the weights of a layer's experts lie, behind the layer's prefix.
///
/// Matrices are stored in one of three layouts, which is told by what is there: one tensor for each
/// expert, `stem.E.gate.weight`; one for all, `stem.gate.weight`, [experts, out, in] (GGUF); or gate and
/// up in one, `stem.gate_up_proj`, [experts, 2 * intermediate, hidden], and `stem.down_proj`, as
/// transformers 5 holds them.
struct ExpertNames: Sendable {
  var router = "mlp.gate"
  /// Not there where logits and choices have no bias; see `RoutingRule`.
  var routingBias: String?
  var stem = "mlp.experts"
  var gate = "gate_proj"
  var up = "up_proj"
  var down = "down_proj"
  var gateUp = "gate_up_proj"
  /// An MLP's stem; nil: there is no shared expert.
  var shared: String?
}
