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
    func node(_ name: String) throws(TokenizerError) -> JSONNode? {
      let path = directory + "/" + name
      return FileContents.exists(path) ? try JSONNode(contentsOf: path) : nil
    }
    let file = try node("tokenizer_config.json")
    try readNames(file, map: node("special_tokens_map.json"))
    if let file { try read(file) }
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

  /// The fields of control tokens that every tokenizer of transformers has, in its order.
  private static let roles = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// The names of tokens, of `tokenizer_config.json` and of `special_tokens_map.json`.
  ///
  /// Where the first declares tokens (`added_tokens_decoder`), the other makes none; where it does not, the
  /// other goes first. Any further field `*_token` names a control token, too.
  /// Source: transformers 5, `PreTrainedTokenizerBase._from_pretrained` and `__init__`.
  private mutating func readNames(
    _ file: JSONNode?, map: JSONNode?
  ) throws(TokenizerError) {
    let declares = file?["added_tokens_decoder"].isPresent ?? false
    let sources = (declares ? [file, map] : [map, file]).compactMap { $0 }
    func first(_ field: String) -> JSONNode? {
      sources.lazy.map { $0[field] }.first { $0.isPresent }
    }
    func name(_ field: String) throws(TokenizerError) -> String? {
      try first(field).flatMap { node throws(TokenizerError) in try Self.token(node) }
    }
    beginningOfTextToken = try name("bos_token")
    endOfTextToken = try name("eos_token")
    paddingToken = try name("pad_token")
    unknownToken = try name("unk_token")

    let makers = declares ? [file].compactMap { $0 } : sources
    func field(_ name: String) -> JSONNode? {
      makers.lazy.map { $0[name] }.first { $0.isPresent }
    }
    for role in Self.roles {
      if let node = field(role) { try addControlToken(node) }
    }
    var hasOwn = false
    for maker in makers {
      for (key, entry) in try maker.members() {
        let name = String(decoding: key, as: UTF8.self)
        guard name.hasSuffix("_token"), !Self.roles.contains(name), Self.isToken(entry) else {
          continue
        }
        try addControlToken(entry)
        hasOwn = true
      }
    }
    if let node = field("extra_special_tokens"), case .object = node.value {
      for (_, entry) in try node.members() { try addControlToken(entry) }
    } else if !hasOwn, let node = field("model_specific_special_tokens") {
      for (_, entry) in try node.members() { try addControlToken(entry) }
    }
    for name in ["extra_special_tokens", "additional_special_tokens"] {
      guard let node = field(name) else { continue }
      if case .object = node.value { continue }
      for entry in try node.elements() { try addControlToken(entry) }
    }
  }

  /// A text, or an object that says that it is an added token.
  private static func isToken(_ node: JSONNode) -> Bool {
    switch node.value {
    case .string: true
    case .object: node["__type"].value == .string("AddedToken")
    default: false
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
