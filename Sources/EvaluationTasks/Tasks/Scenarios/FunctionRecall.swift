/// A function of a code base is given back from its name and first line.
///
/// The prompt is whole files up to the length; the reference is the beginning of the function's body as
/// it stands there, scored by the similarity of as many lines.
struct FunctionRecall {
  let code: CodeBase
  let length: Int
  /// The prompt's number and the number of prompts: the functions asked for are evenly spaced in the prompt.
  let sample: Int
  let of: Int

  /// A function whose first line is one line, and the beginning of its body.
  struct Function: Hashable {
    var name: String
    /// What begins it up to its parameters: "def name(".
    var beginning: String
    /// Its first line.
    var signature: String
    var body: [String]
    /// The lines of the passage that it takes up to the end of ``body``.
    var lines: Range<Int>
  }

  private static let questionTokens = 400
  private static let bytesPerToken = 6
  /// Orders of files that are tried: files at the beginning of a short prompt may have no function.
  private static let orders = 16

  func task(
    _ words: WordList, id: String, kind: String, _ countTokens: TokenCounter
  ) throws -> EvaluationTask {
    var words = words
    for _ in 0..<Self.orders {
      if let task = try task(passage(&words), id: id, kind: kind, countTokens) { return task }
    }
    throw TaskError.nothingToAsk(kind: kind, source: code.folder)
  }

  /// The task on these files; nil if they have no function that can be asked for.
  private func task(
    _ passage: (lines: [String], functions: [Function]), id: String, kind: String,
    _ countTokens: TokenCounter
  ) throws -> EvaluationTask? {
    let (lines, functions) = passage
    var draft = DocumentDraft(
      maximumSize: lines.count, tokensPerUnit: 12,
      opening: "Read the source files below closely. A question about one function follows.",
      context: { lines[..<$0].joined(separator: "\n") }, question: "", references: { _ in [] },
      scoring: .lineSimilarity, answerTokens: 0)
    let size = try LengthFitting.largestSize(
      upTo: lines.count, limit: length - Self.questionTokens, rate: draft.tokensPerUnit
    ) { try countTokens(draft.prompt(size: $0)) }
    guard let size, size > 0 else {
      throw TaskError.tooShort(
        kind: kind, length: length,
        needed: try countTokens(draft.prompt(size: 1)) + Self.questionTokens)
    }
    // The question's own passage may be a little longer; the name must be unique there as well.
    let end = min(lines.count, size + 60)
    let seen = lines[..<end].joined(separator: "\n")
    let wanted = Int((Double(sample) + 0.5) / Double(max(1, of)) * Double(size))
    let near = functions.filter { $0.lines.upperBound <= size }
      .sorted { abs($0.lines.lowerBound - wanted) < abs($1.lines.lowerBound - wanted) }
    let known = BookQuestion.Text(seen)
    for function in near where known.count(of: function.beginning) == 1 {
      draft.minimumSize = function.lines.upperBound
      draft.maximumSize = end
      draft.question =
        "Question: Give back the function \(function.name) word for word, as it stands in the files "
        + "above. Write the code alone."
      draft.answerPrefix = " ```\n" + function.signature
      draft.references = { _ in [function.body.joined(separator: "\n")] }
      draft.answerTokens = 160
      draft.depth = Double(function.lines.lowerBound) / Double(size)
      do {
        return try draft.task(id: id, kind: kind, length: length, countTokens)
      } catch TaskError.tooShort {
        // A long first line, at the prompt's end: an earlier function has room.
        continue
      }
    }
    return nil
  }

  /// Whole files in random order, each headed by its path, and their functions.
  private func passage(_ words: inout WordList) -> (lines: [String], functions: [Function]) {
    var lines: [String] = []
    var functions: [Function] = []
    var bytes = 0
    for file in words.shuffled(code.files) where bytes < Self.bytesPerToken * length {
      lines.append("File: \(file.path)")
      functions += Self.functions(of: file).map { function in
        var function = function
        function.lines =
          function.lines.lowerBound + lines.count..<function.lines.upperBound + lines.count
        return function
      }
      lines += file.lines
      bytes += file.lines.reduce(0) { $0 + $1.utf8.count + 1 }
    }
    return (lines, functions)
  }

  /// The functions of a file whose first line is complete and whose body has four lines or more.
  static func functions(of file: CodeBase.File) -> [Function] {
    file.lines.indices.compactMap { start in
      guard let name = name(file.lines[start], file.keyword) else { return nil }
      let indentation = file.lines[start].prefix { $0 == " " || $0 == "\t" }.count
      var body: [String] = []
      var bytes = 0
      var end = start + 1
      while end < file.lines.count, body.count < 10, bytes < 400 {
        let line = file.lines[end]
        let text = line.drop { $0 == " " || $0 == "\t" }
        if !text.isEmpty {
          guard line.count - text.count > indentation else { break }
          body.append(line)
          bytes += text.utf8.count
        }
        end += 1
      }
      guard body.count >= 4 else { return nil }
      return Function(
        name: name, beginning: file.keyword + name + "(", signature: file.lines[start], body: body,
        lines: start..<end)
    }
  }

  /// The name of the function that begins on a line, if its parameters end there too.
  private static func name(_ line: String, _ keyword: String) -> String? {
    guard let start = line.firstRange(of: keyword),
      line[..<start.lowerBound].allSatisfy({ $0.isLetter || $0 == " " || $0 == "\t" }),
      line[..<start.lowerBound].last.map({ !$0.isLetter }) ?? true
    else { return nil }
    let name = line[start.upperBound...].prefix { $0.isLetter || $0.isNumber || $0 == "_" }
    let rest = line[name.endIndex...]
    guard name.count >= 4, rest.first == "(", let last = rest.last, ":{)".contains(last),
      rest.count(where: { $0 == "(" }) == rest.count(where: { $0 == ")" })
    else { return nil }
    return String(name)
  }
}
