public import MInference

/// A context-free grammar that writes prose, read from a few lines of text.
///
/// Each line is `name = alternative | alternative`; a line that starts with `|` goes on with the
/// rule before it. In an alternative `{name}` stands for an expansion of that rule, or for the
/// value that the caller bound to the name. Every alternative is equally likely.
public struct TextGrammar: Sendable {
  enum Part: Sendable, Equatable {
    case literal(String)
    case reference(String)
  }

  private let rules: [String: [[Part]]]

  /// Throws ``TextGrammarError`` if a line is no rule or names a rule that is not there and is not
  /// among `bound`.
  public init(_ source: String, bound: Set<String> = []) throws {
    var rules: [String: [[Part]]] = [:]
    var current = ""
    for line in source.split(separator: "\n") {
      var body = line[...]
      if let sign = line.firstIndex(of: "="), !line.hasPrefix("|"), !line.hasPrefix(" ") {
        current = Self.trimmed(line[..<sign])
        body = line[line.index(after: sign)...]
      }
      guard !current.isEmpty else { throw TextGrammarError.notARule(String(line)) }
      for alternative in body.split(separator: "|") where !Self.trimmed(alternative).isEmpty {
        rules[current, default: []].append(try Self.parts(of: Self.trimmed(alternative)))
      }
    }
    for part in rules.values.joined().joined() {
      if case .reference(let name) = part, rules[name] == nil, !bound.contains(name) {
        throw TextGrammarError.unknownRule(name)
      }
    }
    self.rules = rules
  }

  /// One expansion of `rule` as a sentence; names in `bindings` stand for their values.
  ///
  /// "a" becomes "an" before a vowel, and sentences begin with a capital.
  public func expand(
    _ rule: String, bindings: [String: String] = [:], using generator: inout SeededGenerator
  ) -> String {
    Self.polished(phrase(rule, bindings: bindings, using: &generator))
  }

  /// One expansion of `rule`, as it comes.
  public func phrase(
    _ rule: String, bindings: [String: String] = [:], using generator: inout SeededGenerator
  ) -> String {
    var text = ""
    append(rule, bindings, &generator, to: &text)
    return text
  }

  private func append(
    _ rule: String, _ bindings: [String: String], _ generator: inout SeededGenerator,
    to text: inout String
  ) {
    if let value = bindings[rule] {
      text += value
      return
    }
    for part in generator.pick(rules[rule] ?? []) ?? [] {
      switch part {
      case .literal(let literal): text += literal
      case .reference(let name): append(name, bindings, &generator, to: &text)
      }
    }
  }

  private static func parts(of alternative: String) throws -> [Part] {
    var parts: [Part] = []
    var rest = alternative[...]
    while let open = rest.firstIndex(of: "{") {
      guard let close = rest[open...].firstIndex(of: "}") else {
        throw TextGrammarError.notARule(alternative)
      }
      if open > rest.startIndex { parts.append(.literal(String(rest[..<open]))) }
      parts.append(.reference(String(rest[rest.index(after: open)..<close])))
      rest = rest[rest.index(after: close)...]
    }
    if !rest.isEmpty { parts.append(.literal(String(rest))) }
    return parts
  }

  private static func trimmed(_ text: Substring) -> String {
    let start = text.firstIndex { $0 != " " } ?? text.endIndex
    let end = text.lastIndex { $0 != " " }.map { text.index(after: $0) } ?? start
    return String(text[start..<max(start, end)])
  }

  static func polished(_ text: String) -> String {
    let vowels = Set("aeiouAEIOU".utf8)
    let quote = UInt8(ascii: "\"")
    let bytes = Array(text.utf8)
    var polished: [UInt8] = []
    polished.reserveCapacity(bytes.count + 8)
    var beginsSentence = true
    var previousIsLetter = false
    for (offset, byte) in bytes.enumerated() {
      let isLetter = isLetter(byte)
      polished.append(beginsSentence && isLetter ? byte & 0xDF : byte)
      let isArticle =
        byte | 0x20 == UInt8(ascii: "a") && !previousIsLetter && offset + 2 < bytes.count
        && bytes[offset + 1] == UInt8(ascii: " ") && vowels.contains(bytes[offset + 2])
      if isArticle { polished.append(UInt8(ascii: "n")) }
      switch byte {
      case UInt8(ascii: " "), quote: break
      case UInt8(ascii: "."), UInt8(ascii: "?"), UInt8(ascii: "!"):
        // A closing quote after the mark leaves the sentence open: "Why?" asked Greta.
        beginsSentence = offset + 1 < bytes.count && bytes[offset + 1] != quote
      default: beginsSentence = false
      }
      previousIsLetter = isLetter
    }
    return String(decoding: polished, as: UTF8.self)
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 32)
  }
}

/// Errors in the text of a grammar.
public enum TextGrammarError: Error, CustomStringConvertible, Sendable, Equatable {
  case notARule(String)
  case unknownRule(String)

  public var description: String {
    switch self {
    case .notARule(let line):
      "grammar: \"\(line)\" is no rule; write name = alternative | alternative"
    case .unknownRule(let name):
      "grammar: {\(name)} is neither a rule nor bound; add a rule of that name"
    }
  }
}
