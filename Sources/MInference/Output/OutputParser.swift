/// Tells reasoning and tool calls from the text of an answer, as it comes.
///
/// Reasoning stands within `<think>` and `</think>`, calls within `<tool_call>` and `</tool_call>`: so
/// write Qwen's models, DeepSeek's, and those that were trained on the same form. gpt-oss writes in
/// channels (``HarmonyReader``).
package struct OutputParser: Sendable {
  private enum Section: Sendable {
    case answer
    case reasoning
    case call
  }

  private let readsToolCalls: Bool
  private let readsReasoning: Bool
  private var section: Section
  private var scanner = TagScanner()
  private var call: ToolCallReader?
  private var calls = 0
  /// Whether anything but blank space has come in the answer.
  private var hasText = false
  /// Whether nothing but blank space has come since the answer, or its part behind a call, began.
  private var isAtStart = true
  private var reasoningTokens = 0
  private var harmony: HarmonyReader?
  private let makeID: @Sendable () -> String

  /// - Parameters:
  ///   - beginsInReasoning: Whether the prompt ends with `<think>`.
  ///   - readsToolCalls: Whether calls are looked for.
  ///   - readsReasoning: Whether reasoning is looked for.
  ///   - makeID: Names a call.
  package init(
    beginsInReasoning: Bool, readsToolCalls: Bool, readsReasoning: Bool = true,
    makeID: @escaping @Sendable () -> String
  ) {
    section = beginsInReasoning ? .reasoning : .answer
    self.readsToolCalls = readsToolCalls
    self.readsReasoning = readsReasoning
    self.makeID = makeID
  }

  /// For an answer in the harmony format, in which markers are shown
  /// (``AnswerRequest/showsControlTokens``).
  package init(
    _ markers: HarmonyMarkers, readsToolCalls: Bool,
    makeID: @escaping @Sendable () -> String
  ) {
    self.init(
      beginsInReasoning: false, readsToolCalls: readsToolCalls, readsReasoning: true,
      makeID: makeID)
    harmony = HarmonyReader(markers, readsCalls: readsToolCalls)
  }

  /// The pieces that an event of the engine gives.
  package mutating func take(_ event: AnswerEvent) -> [OutputPiece] {
    switch event {
    case .progress(let progress): return [.progress(progress)]
    case .token(let token):
      if harmony != nil { return takeHarmony(token) }
      if section == .reasoning { reasoningTokens += 1 }
      let pieces = push(token.text)
      guard token.logProbability != nil, section == .answer else { return pieces }
      return Self.attach(token, to: pieces)
    case .finished(let summary):
      var pieces: [OutputPiece] = []
      if var reader = harmony {
        pieces = self.pieces(of: reader.finish(summary.text))
        harmony = reader
      } else {
        pieces = push(summary.text)
        pieces += piece(of: scanner.finish())
      }
      let reason: OutputEnd.Reason
      switch summary.finish {
      case .endOfText, .stopString: reason = calls > 0 ? .toolCalls : .stop
      case .length, .contextFull: reason = .length
      }
      pieces.append(
        .end(
          OutputEnd(reason: reason, summary: summary, reasoningTokens: reasoningTokens)))
      return pieces
    }
  }

  private mutating func takeHarmony(_ token: AnswerToken) -> [OutputPiece] {
    guard var reader = harmony else { return [] }
    let pieces = pieces(of: reader.push(token.id, text: token.text))
    harmony = reader
    if reader.isMarker(token.id) { return pieces }
    if reader.body == .reasoning { reasoningTokens += 1 }
    guard token.logProbability != nil, reader.body == .text else { return pieces }
    return Self.attach(token, to: pieces)
  }

  private mutating func pieces(of found: [HarmonyReader.Piece]) -> [OutputPiece] {
    found.map { piece in
      switch piece {
      case .reasoning(let text): return .reasoning(text)
      case .text(let text): return .text(text, [])
      case .call(let name):
        calls += 1
        return .toolCall(index: calls - 1, id: makeID(), name: name)
      case .arguments(let text): return .toolArguments(index: calls - 1, text)
      }
    }
  }

  private static func attach(_ token: AnswerToken, to pieces: [OutputPiece]) -> [OutputPiece] {
    var pieces = pieces
    for index in pieces.indices {
      if case .text(let text, _) = pieces[index] {
        pieces[index] = .text(text, [token])
        return pieces
      }
    }
    return pieces + [.text("", [token])]
  }

  private var tags: [String] {
    switch section {
    case .answer:
      (hasText || !readsReasoning ? [] : ["<think>"]) + (readsToolCalls ? ["<tool_call>"] : [])
    case .reasoning: ["</think>"]
    case .call: ["</tool_call>"]
    }
  }

  private mutating func push(_ text: String) -> [OutputPiece] {
    var pieces: [OutputPiece] = []
    var text = text
    while true {
      switch scanner.push(text, tags: tags) {
      case .text(let certain):
        return pieces + piece(of: certain)
      case .tag(let before, let tag, let rest):
        // Reasoning comes before an answer: behind text its tag is text.
        if section == .answer, tag == "<think>", !Self.isBlank(before) {
          pieces += piece(of: before + tag)
          text = rest
          continue
        }
        pieces += piece(of: before)
        isAtStart = true
        switch tag {
        case "<think>": section = .reasoning
        case "<tool_call>":
          section = .call
          call = ToolCallReader()
        default:
          section = .answer
          call = nil
        }
        text = rest
      }
    }
  }

  private static func isBlank(_ character: Character) -> Bool {
    character.utf8.allSatisfy { $0 == 0x20 || (9...13).contains($0) }
  }

  private static func isBlank(_ text: String) -> Bool { text.allSatisfy { isBlank($0) } }

  /// What a stretch of text is in the section that it stands in.
  private mutating func piece(of text: String) -> [OutputPiece] {
    guard !text.isEmpty else { return [] }
    switch section {
    case .reasoning: return [.reasoning(text)]
    case .answer:
      // Blank lines behind reasoning and calls, and before them, are no answer.
      let isLeading = isAtStart && readsToolCalls
      let rest = isLeading ? String(text.drop { Self.isBlank($0) }) : text
      guard !rest.isEmpty else { return [] }
      if !Self.isBlank(rest) { (hasText, isAtStart) = (true, false) }
      return [.text(rest, [])]
    case .call:
      guard var reader = call else { return [] }
      let found = reader.push(text)
      call = reader
      var pieces: [OutputPiece] = []
      if let name = found.name {
        pieces.append(.toolCall(index: calls, id: makeID(), name: name))
        calls += 1
      }
      if !found.arguments.isEmpty {
        pieces.append(.toolArguments(index: calls - 1, found.arguments))
      }
      return pieces
    }
  }
}
