import MInference

/// The token ids of a conversation so far, and what the next message adds to them.
///
/// Ids and not texts are kept: an answer that is tokenized again may be cut differently, and the keys
/// and values behind the difference would be lost.
struct Conversation {
  let model: LanguageModel
  /// Plain text instead of the model's chat form.
  let raw: Bool
  /// Which chat template, and what it is told.
  let form: ChatOptions
  /// Everything from the first token on, answers included.
  private(set) var ids: [Int32] = []
  /// Documents that wait for the next question.
  private(set) var documents: [String] = []

  init(_ model: LanguageModel, raw: Bool, form: ChatOptions) {
    self.model = model
    self.form = form
    self.raw = raw || !model.hasChatTemplate
  }

  mutating func add(document: String) { documents.append(document) }

  /// The ids with a question behind them, the waiting documents before it.
  func ids(asking question: String) throws -> [Int32] {
    let message = (documents + [question]).joined(separator: "\n\n")
    if ids.isEmpty { return try model.encode(raw ? .raw(message) : .user(message), chat: form) }
    if raw { return ids + model.tokenizer.encode("\n\n" + message, addTemplate: false) }
    return ids + (try model.encodeFollowUp(message, chat: form))
  }

  /// Takes what a turn has led to, question and answer.
  mutating func advance(to ids: [Int32]) {
    self.ids = ids
    documents = []
  }

  /// Drops the waiting documents; says whether there were any.
  mutating func dropDocuments() -> Bool {
    defer { documents = [] }
    return !documents.isEmpty
  }
}
