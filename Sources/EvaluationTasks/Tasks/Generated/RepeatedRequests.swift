import MInference

/// The k-th of several answers to the same request, among answers to others.
///
/// The form of MRCR (Michelangelo; OpenAI's data set `mrcr`): a long conversation asks again and again
/// for short texts; one request comes four times; the last one asks for its k-th answer with a mark in
/// front. Scored as published: nothing without the mark, else the similarity to the answer that was
/// asked for. The conversation is given as a transcript, so that every chat form and base models get
/// the same prompt.
enum RepeatedRequests {
  /// How often the request that is asked for comes.
  static let repetitions = 4

  static func draft(_ words: WordList, length: Int) throws -> DocumentDraft {
    var words = words
    let grammar = try TextGrammar(rules, bound: ["topic"])
    var generator = SeededGenerator(seed: UInt64(words.number(below: 1 << 30)))
    var written: Set<String> = []
    func answer(_ form: String, _ topic: String) -> String {
      // Two answers to one request must differ.
      while true {
        let text = grammar.expand(form, bindings: ["topic": topic], using: &generator)
        if written.insert(text).inserted { return text }
      }
    }
    func turn(_ form: String, _ topic: String, _ answer: String) -> String {
      "User: Write a \(form) about \(topic).\nAssistant: \(answer)"
    }
    let form = forms[words.number(below: forms.count)]
    let topic = topics[words.number(below: topics.count)]
    let answers = (0..<repetitions).map { _ in answer(form, topic) }
    let wanted = words.number(below: repetitions)
    let others = (0..<length / 40 + 1).map { _ in
      while true {
        let other = (
          form: forms[words.number(below: forms.count)],
          topic: topics[words.number(below: topics.count)]
        )
        guard other != (form, topic) else { continue }
        return turn(other.form, other.topic, answer(other.form, other.topic))
      }
    }
    let mark = words.letters(10, from: "a")
    let facts = answers.map { turn(form, topic, $0) }
    let places = words
    let name = "\(ordinals[wanted]) \(form) about \(topic)"
    return DocumentDraft(
      maximumSize: others.count, tokensPerUnit: 60,
      opening: "Below is a conversation between a user and an assistant.",
      context: { size in
        var places = places
        return RulerDraft.mixed(facts, into: Array(others[..<size]), &places)
          .joined(separator: "\n\n")
      },
      question:
        "The conversation ends here. Write \(mark) and directly behind it, word for word, the "
        + "assistant's \(name), counted from the first one. Write nothing else.",
      references: { _ in [mark, answers[wanted]] }, scoring: .markedSimilarity, answerTokens: 128)
  }

  private static let ordinals = ["first", "second", "third", "fourth"]

  private static let forms = ["poem", "letter", "notice", "riddle", "recipe", "toast", "story"]

  private static let topics = [
    "lanterns", "old maps", "the tide", "a lost key", "winter apples", "the ferry", "bees",
    "a broken clock", "the first snow", "salt", "a night train", "the lighthouse",
  ]

  private static let rules = """
    poem = {line} of {topic}, {line}, {line}; {line} and {line}. | {topic}, {line}: {line}, {line}, {line}.
    line = {adjective} as {thing} | {adjective} under {place} | and nobody {verb} | like {thing} at {place}
    | where {thing} {verb} | while {thing} waits for {thing} | a {adjective} song of {thing}
    letter = Dear {person}, you asked about {topic}. {news}. {news}. Yours, {person}.
    | My dear {person}, nothing here but {topic} and {thing}. {news}. {news}. Your {person}.
    news = {person} {verb} {thing} at {place} | We {verb} {number} pieces of {topic} by {place}
    | The talk is of {topic}, and {person} {verb} all of it | Bring {thing} when you come to {place}
    notice = Found at {place}: {number} pieces of {topic}. Ask {person}, who {verb} {thing}.
    | To all at {place}: {topic} will be {verb} before noon. {person} brings {thing}.
    riddle = I am {adjective} as {thing} and live by {place}; {person} {verb} me for {topic}. What am I?
    | {number} times I was {verb} at {place}, never by {person}, always near {topic}. Who am I?
    recipe = Take {number} cups of {topic}, add {thing}, stir at {place} and serve {adjective} to {person}.
    | Let {topic} stand {number} hours by {place}; {person} adds {thing}; eat it {adjective}.
    toast = To {topic}, to {thing}, and to {person}, who {verb} {number} of them at {place}!
    | Raise your glass at {place}: {person} {verb} {topic} with {thing}, {number} times over!
    story = {person} went to {place} for {topic}. There {person} {verb} {thing}. {news}.
    | Once {number} of us kept {topic} at {place}. Then {person} {verb} {thing}. {news}.
    adjective = quiet | heavy | bright | narrow | crooked | patient | hollow | bitter | golden | plain
    thing = a kettle | the gate | a feather | my coat | an anchor | the ladder | a violin | the well
    | a wheel | the letterbox
    place = the mill | the quay | the bridge | the orchard | the north wall | the school | the inn
    | the tannery
    person = Marta | Ansel | Greta | Ruben | Linnea | Casper | Hester | Jonas | Wilma | Edmund
    verb = counted | mended | painted | carried | forgot | praised | hid | sold | weighed | borrowed
    number = two | three | five | seven | nine | eleven | twelve | twenty
    """
}
