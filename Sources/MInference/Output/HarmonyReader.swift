/// Reads an answer in the harmony format, as it comes: messages with a header and a text.
///
///     <|channel|>analysis<|message|>TEXT<|end|>
///     <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>JSON<|call|>
///     <|start|>assistant<|channel|>final<|message|>TEXT<|return|>
///
/// A marker counts where its id has come: the same characters in other tokens are text. The text of a token
/// may come later than its id, as the engine holds back what may become a stop string.
package struct HarmonyReader: Sendable {
  /// What a stretch of an answer is.
  package enum Piece: Sendable, Equatable {
    case reasoning(String)
    case text(String)
    /// A call begins.
    case call(name: String)
    case arguments(String)
  }

  /// What the text of a message is.
  package enum Body: Sendable, Equatable {
    case reasoning
    case text
    case call
  }

  private struct Header: Sendable {
    /// Behind `<|start|>`: "assistant", perhaps with a recipient.
    var role = ""
    /// Behind `<|channel|>`; nil before it.
    var channel: String?
    /// Whether `<|constrain|>` has come: what follows names a format.
    var isConstrained = false
  }

  private let markers: HarmonyMarkers
  private let readsCalls: Bool
  /// Markers whose ids have come, and whose text has not.
  private var awaited: [HarmonyMarkers.Marker] = []
  private var scanner = TagScanner()
  /// The header that is being read; nil within a text.
  private var header: Header? = Header(role: "assistant")
  private var bodyOfMessage: Body?
  /// Whether a text has begun in the answer at all.
  private var hasMessage = false
  /// Whether the message has text, and which kinds of message had.
  private var isEmpty = true
  private var hasReasoning = false
  private var hasText = false

  /// What the text of the message is that is being read; nil within a header.
  package var body: Body? { header == nil ? bodyOfMessage : nil }

  /// - Parameter readsCalls: Whether messages to functions are calls; else they are text.
  package init(_ markers: HarmonyMarkers, readsCalls: Bool) {
    self.markers = markers
    self.readsCalls = readsCalls
  }

  /// Whether a token is a marker.
  package func isMarker(_ id: Int32) -> Bool { markers.ids[id] != nil }

  /// Takes a token and the text that is certain with it, markers' included.
  package mutating func push(_ id: Int32, text: String) -> [Piece] {
    if let marker = markers.ids[id] { awaited.append(marker) }
    return push(text)
  }

  /// Takes the text that was held back to the end, and ends the answer.
  package mutating func finish(_ text: String) -> [Piece] {
    var pieces = push(text)
    pieces += add(scanner.finish())
    pieces += endMessage()
    // An answer that is no harmony at all.
    if !hasMessage, let header, header.channel == nil {
      let plain = header.role.dropFirst("assistant".count)
      if !plain.isEmpty { pieces.append(.text(String(plain))) }
    }
    return pieces
  }

  private mutating func push(_ text: String) -> [Piece] {
    var pieces: [Piece] = []
    var text = text
    while true {
      switch scanner.push(text, tags: awaited.first.map { [$0.rawValue] } ?? []) {
      case .text(let certain): return pieces + add(certain)
      case .tag(let before, _, let rest):
        pieces += add(before)
        pieces += take(awaited.removeFirst())
        text = rest
      }
    }
  }

  /// Text of a header or of a message.
  private mutating func add(_ text: String) -> [Piece] {
    guard !text.isEmpty else { return [] }
    if header != nil {
      if header?.isConstrained == true { return [] }
      if header?.channel != nil { header?.channel?.append(text) } else { header?.role.append(text) }
      return []
    }
    defer { isEmpty = false }
    switch bodyOfMessage {
    case .reasoning:
      defer { hasReasoning = true }
      return [.reasoning(isEmpty && hasReasoning ? "\n\n" + text : text)]
    case .call: return [.arguments(text)]
    case .text, nil:
      defer { hasText = true }
      return [.text(isEmpty && hasText ? "\n\n" + text : text)]
    }
  }

  private mutating func take(_ marker: HarmonyMarkers.Marker) -> [Piece] {
    switch marker {
    case .start, .end, .call, .return:
      let pieces = endMessage()
      header = Header()
      return pieces
    case .channel:
      // A header may have two, of which the last counts.
      let pieces = endMessage()
      header = Header(role: header?.role ?? "", channel: "")
      return pieces
    case .constrain:
      header?.isConstrained = true
      return []
    case .message:
      guard let header else { return [] }
      self.header = nil
      hasMessage = true
      isEmpty = true
      let recipient = Self.recipient(header.channel ?? "") ?? Self.recipient(header.role)
      if readsCalls, let recipient {
        bodyOfMessage = .call
        let isFunction = recipient.hasPrefix("functions.")
        return [.call(name: isFunction ? String(recipient.dropFirst(10)) : recipient)]
      }
      let channel = header.channel?.split(whereSeparator: \.isWhitespace).first
      bodyOfMessage = channel == "analysis" && recipient == nil ? .reasoning : .text
      return []
    }
  }

  /// A call without arguments has an object of none.
  private mutating func endMessage() -> [Piece] {
    defer { bodyOfMessage = nil }
    guard header == nil, bodyOfMessage == .call, isEmpty else { return [] }
    return [.arguments("{}")]
  }

  /// "functions.weather" of "commentary to=functions.weather "; nil for none, and for the assistant itself.
  private static func recipient(_ text: String) -> String? {
    for word in text.split(whereSeparator: \.isWhitespace) where word.hasPrefix("to=") {
      let name = String(word.dropFirst(3))
      return name.isEmpty || name == "assistant" ? nil : name
    }
    return nil
  }
}
