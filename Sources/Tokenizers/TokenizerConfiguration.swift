import JSON

/// What `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja` say beside
/// `tokenizer.json`.
public struct TokenizerConfiguration: Sendable {
  /// The text of the token that begins a text; nil where none is named.
  public var beginningOfTextToken: String?
  /// The text of the token that ends a text or a turn.
  public var endOfTextToken: String?
  /// The text of the token that pads batches.
  public var paddingToken: String?
  /// The text of the token for what is not in the vocabulary.
  public var unknownToken: String?
  /// `add_bos_token`; nil where the file does not say.
  public var addsBeginningOfText: Bool?
  /// `add_eos_token`; nil where the file does not say.
  public var addsEndOfText: Bool?
  /// `model_max_length`, where it is a sensible number of tokens.
  public var maximumLength: Int?
  /// The chat template: `chat_template.jinja`, else the template called `default`, else the only one.
  public var chatTemplate: String?
  /// All templates by name: `chat_template.jinja` as `default` and `additional_chat_templates/*.jinja`,
  /// else those of `tokenizer_config.json`, where one without a name is called `default`.
  public var namedChatTemplates: [String: String] = [:]
  /// The files of `namedChatTemplates`, for errors about them.
  public var namedChatTemplateFiles: [String: String] = [:]
  /// The file that `chatTemplate` is from, for errors about it.
  public var chatTemplateFile: String?
  /// `tokenizer_class`: the class of transformers.
  var tokenizerClass: String?
  /// `added_tokens_decoder`, else `added_tokens.json`: tokens beside those of the tokenizer's own file.
  var addedTokens: [AddedToken] = []
  /// The control tokens that are named without an id, in transformers' order; each of id 0.
  var namedControlTokens: [AddedToken] = []

  /// Says nothing.
  public init() {}

  /// Reads the files of a directory, each of which may be missing.
  ///
  /// - Throws: `TokenizerError` when a file is there but cannot be read or is malformed.
  public init(directory: String) throws(TokenizerError) {
    let path = directory + "/tokenizer_config.json"
    if FileContents.exists(path) {
      try read(JSONNode(contentsOf: path))
    }
    let mapPath = directory + "/special_tokens_map.json"
    if FileContents.exists(mapPath) {
      try readNames(JSONNode(contentsOf: mapPath))
    }
    let addedPath = directory + "/added_tokens.json"
    if addedTokens.isEmpty, FileContents.exists(addedPath) {
      try readAddedTokens(JSONNode(contentsOf: addedPath))
    }
    let files = try ChatTemplateFiles.inDirectory(directory)
    if !files.isEmpty {
      // As in `transformers`, files of their own replace what the configuration holds.
      namedChatTemplates = [:]
      namedChatTemplateFiles = [:]
    }
    for file in files {
      namedChatTemplates[file.name] = String(
        decoding: try FileContents.utf8(of: file.path), as: UTF8.self)
      namedChatTemplateFiles[file.name] = file.path
    }
    let names = namedChatTemplates.keys
    if let name = names.contains("default") ? "default" : names.count == 1 ? names.first : nil {
      chatTemplate = namedChatTemplates[name]
      chatTemplateFile = namedChatTemplateFiles[name]
    }
  }

  /// Bytes of a template's name at most.
  private static let longestName = 1024

  private mutating func read(_ node: JSONNode) throws(TokenizerError) {
    try readNames(node)
    if node["added_tokens_decoder"].isPresent {
      for (key, entry) in try node["added_tokens_decoder"].members() {
        guard let id = Int(String(decoding: key, as: UTF8.self)),
          (0...Vocabulary.largestIdentifier).contains(id)
        else { throw entry.malformed("is not called by an id") }
        addedTokens.append(try AddedToken(entry, id: id))
      }
    }
    if node["tokenizer_class"].isPresent { tokenizerClass = try node["tokenizer_class"].string() }
    addsBeginningOfText = try Self.optionalBool(node["add_bos_token"])
    addsEndOfText = try Self.optionalBool(node["add_eos_token"])
    // Files without a limit hold 1e30 here.
    if case .integer(let limit) = node["model_max_length"].value { maximumLength = limit }

    let template = node["chat_template"]
    switch template.value {
    case .null: break
    case .string(let text): namedChatTemplates["default"] = text
    default:
      for element in try template.elements() {
        let name = try element["name"].string()
        // Hashing a long text of combining marks takes quadratic time, and no name is long.
        guard name.utf8.count <= Self.longestName else {
          throw element["name"].malformed("is a name of \(name.utf8.count) bytes")
        }
        namedChatTemplates[name] = try element["template"].string()
      }
    }
    for name in namedChatTemplates.keys { namedChatTemplateFiles[name] = node.file }
  }

  /// The names of tokens; what an earlier file said stands.
  private mutating func readNames(_ node: JSONNode) throws(TokenizerError) {
    func name(_ field: String, unless known: String?) throws(TokenizerError) -> String? {
      if let known { return known }
      return try Self.token(node[field])
    }
    beginningOfTextToken = try name("bos_token", unless: beginningOfTextToken)
    endOfTextToken = try name("eos_token", unless: endOfTextToken)
    paddingToken = try name("pad_token", unless: paddingToken)
    unknownToken = try name("unk_token", unless: unknownToken)
    for field in [
      "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ] { try addControlToken(node[field]) }
    for field in ["additional_special_tokens", "extra_special_tokens"] {
      switch node[field].value {
      case .null: break
      case .object:
        for (_, entry) in try node[field].members() { try addControlToken(entry) }
      default:
        for entry in try node[field].elements() { try addControlToken(entry) }
      }
    }
  }

  private mutating func addControlToken(_ node: JSONNode) throws(TokenizerError) {
    let token: AddedToken
    switch node.value {
    case .null: return
    case .object: token = try AddedToken(control: node)
    default: token = AddedToken(control: try node.string(), id: 0)
    }
    if !namedControlTokens.contains(where: { $0.content == token.content }) {
      namedControlTokens.append(token)
    }
  }

  /// `added_tokens.json`: ids by text.
  private mutating func readAddedTokens(_ node: JSONNode) throws(TokenizerError) {
    for (text, entry) in try node.members() {
      let id = try entry.index(limit: Vocabulary.largestIdentifier)
      let isControl = namedControlTokens.contains { $0.content == text }
      addedTokens.append(
        AddedToken(text: text, id: UInt32(id), special: isControl, normalized: !isControl))
    }
  }

  /// A token's text: a string, or the `content` of an object.
  private static func token(_ node: JSONNode) throws(TokenizerError) -> String? {
    switch node.value {
    case .null: nil
    case .object: try node["content"].string()
    default: try node.string()
    }
  }

  private static func optionalBool(_ node: JSONNode) throws(TokenizerError) -> Bool? {
    node.isPresent ? try node.bool(default: false) : nil
  }
}
