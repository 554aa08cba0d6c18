import JSON

/// Sampling settings from a checkpoint's `generation_config.json`. A field is nil where the file does not set it.
public struct GenerationConfiguration: Equatable, Sendable {
  /// Any of these tokens ends the text.
  public var endOfTextTokenIDs: [Int]
  public var beginOfTextTokenIDs: [Int]
  /// False: always the most likely token.
  public var doSample: Bool?
  public var temperature: Double?
  /// The smallest set of tokens with this probability is kept.
  public var topP: Double?
  /// Keeps this many of the most likely tokens; 0 keeps all.
  public var topK: Int?
  /// Tokens below this share of the most likely one's probability are dropped.
  public var minP: Double?
  public var repetitionPenalty: Double?

  /// Decodes and checks the file at `path`; token ids that it does not give are those of
  /// `config.json`. Without a path nothing else is set.
  ///
  /// - Throws: `.unreadable`, `.malformedJSON`, `.invalidField`.
  public init(file path: String?, defaults: ModelConfiguration) throws(CheckpointError) {
    let json: JSONValue
    if let path { json = try readJSON(at: path) } else { json = .object([]) }
    let fields = try FieldReader(file: path ?? "", object: json)
    endOfTextTokenIDs = try fields.tokenIDs("eos_token_id") ?? defaults.endOfTextTokenIDs
    beginOfTextTokenIDs = try fields.tokenIDs("bos_token_id") ?? defaults.beginOfTextTokenIDs
    doSample = try fields.boolean("do_sample")
    temperature = try fields.number("temperature", in: 0...1e4)
    topP = try fields.number("top_p", in: 0...1)
    topK = try fields.integer("top_k", in: 0...Int(Int32.max))
    minP = try fields.number("min_p", in: 0...1)
    repetitionPenalty = try fields.number("repetition_penalty", in: 1e-3...1e3)
  }
}
