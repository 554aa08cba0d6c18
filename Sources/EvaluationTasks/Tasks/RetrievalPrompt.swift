public import MInference

/// A prompt that measures retrieval: facts are hidden in a text, and several questions are followed by their
/// answers (teacher forcing). One prefill tells for every token of every answer whether it would have been
/// generated.
///
/// The form is RULER's needles of several keys (24 facts, 8 asked for), in the project's own words.
public struct RetrievalPrompt: Sendable, Hashable {
  /// The whole prompt, answers included.
  public var ids: [Int32]
  /// The positions whose next token belongs to an answer, one list for each question.
  public var answers: [[Int]]

  /// Facts in the text, and how many of them are asked for.
  public static let facts = 24
  public static let questions = 8
  /// The seeds of the first validating prompt, and of the first by which a search chooses. The two sets are
  /// disjoint.
  public static let judgingSeed: UInt64 = 1
  public static let choosingSeed: UInt64 = 0x5EA_2C40_0001

  /// Writes a prompt of at most `length` tokens.
  ///
  /// - Parameter text: What the facts lie in; nil: a chronicle of our own, by the seed.
  /// - Throws: ``TaskError/tooShort(kind:length:needed:)`` where the facts and questions alone take
  ///   more; what the model's tokenizer and template throw.
  public init(
    length: Int, seed: UInt64, text: Haystack? = nil, for model: LanguageModel
  ) throws {
    var words = WordList(seed: seed)
    let keys = words.distinct(Self.facts) { $0.pair() }
    let values = keys.map { _ in words.digits(7) }
    let depths = keys.map { _ in Double(words.number(below: 10_000)) / 10_000 }
    let asked = Array(words.shuffled(Array(keys.indices)).prefix(Self.questions))
    let facts = keys.indices.map { fact in
      (
        text: "One of the special magic numbers for \(keys[fact]) is: \(values[fact]).",
        depth: depths[fact]
      )
    }
    let query = RulerDraft.listed(asked.map { keys[$0] })
    let usesChat = (try? model.encode(.user("x"))) != nil

    func tokens(_ text: String) -> [Int32] {
      model.tokenizer.encode(text, specialTokens: .asText, addTemplate: false)
    }
    var answered = ""
    var answerIDs: [Int32] = []
    var answers: [[Int]] = []
    for fact in asked {
      // What is asked for and what answers are encoded together, as one writes on: the answer's tokens
      // are those behind the last common one.
      let line = "\(answered.isEmpty ? "" : "\n")\(keys[fact]): "
      let before = tokens(line)
      let whole = tokens(line + values[fact])
      let common = zip(before, whole).prefix { $0 == $1 }.count
      answers.append(Array(answerIDs.count + common - 1..<answerIDs.count + whole.count - 1))
      answerIDs += whole
      answered += line
    }
    let opening =
      (usesChat ? "" : " ") + "The special magic numbers mentioned in the provided text are:\n"
    func head(_ context: String) throws -> [Int32] {
      let prompt =
        "Some special magic numbers are hidden in the text below. Read it closely and remember them. "
        + "You will be asked for them.\n\(context)\nWhat are all the special magic numbers for "
        + "\(query) mentioned in the provided text?"
      let ids = model.tokenizer
      guard usesChat else { return ids.encode(prompt + opening) }
      return try model.encode(.user(prompt)) + tokens(opening)
    }
    let frame = try head("").count - tokens("").count
    let limit = min(length, model.contextLength) - answerIDs.count
    let sentences = try (text ?? .chronicle(seed: seed)).sentences(bytes: 6 * length)
    let context = { (size: Int) in Haystack.hide(facts, in: sentences[..<size]) }
    let size = LengthFitting.largestSize(upTo: sentences.count, limit: limit, rate: 25) {
      frame + tokens(context($0)).count + 2
    }
    guard let size else {
      throw TaskError.tooShort(
        kind: "retrieval", length: length,
        needed: frame + tokens(context(0)).count + 2 + answerIDs.count)
    }
    let start = try head(context(size))
    ids = start + answerIDs
    self.answers = answers.map { $0.map { $0 + start.count } }
  }

  /// All of ``answers``, ascending.
  public var positions: [Int] { answers.flatMap { $0 } }
}
