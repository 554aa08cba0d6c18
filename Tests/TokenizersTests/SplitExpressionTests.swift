import Testing
import Tokenizers

/// Against Python's `tokenizers` and `regex`; see `Goldens/make-pattern-goldens.py`.
@Suite struct SplitExpressionTests {
  private struct Goldens: Decodable {
    struct Model: Decodable {
      let expressions: [String]
      let lengths: [[Int]]

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        expressions = try container.decode([String].self)
        lengths = try container.decode([[Int]].self)
      }
    }

    struct Hash: Decodable {
      let count: Int
      let hash: String

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        count = try container.decode(Int.self)
        hash = try container.decode(String.self)
      }
    }

    struct Case: Decodable {
      let expression: String
      let text: String
      let lengths: [Int]

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        expression = try container.decode(String.self)
        text = try container.decode(String.self)
        lengths = try container.decode([Int].self)
      }
    }

    struct Behavior: Decodable {
      let expression: String
      let name: String
      let isInverted: Bool
      let text: String
      let pieces: [String]

      init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        expression = try container.decode(String.self)
        name = try container.decode(String.self)
        isInverted = try container.decode(Bool.self)
        text = try container.decode(String.self)
        pieces = try container.decode([String].self)
      }
    }

    let texts: [String]
    let models: [String: Model]
    let samples: [String: [String: Hash]]
    let random: [Case]
    let behaviors: [Behavior]
  }

  private static let goldens = try? Files.golden("pattern-cases.json", as: Goldens.self)

  private func goldens() throws -> Goldens { try #require(Self.goldens) }

  private func lengths(_ expressions: [SplitExpression], _ text: [UInt8]) -> [Int] {
    var pieces = [text]
    for expression in expressions { pieces = pieces.flatMap { expression.pieces(of: $0) } }
    return pieces.map(\.count).filter { $0 > 0 }
  }

  /// tiktoken's expressions are those that `tokenizers` does not read as it does.
  private func expressions(_ name: String, _ model: Goldens.Model) throws -> [SplitExpression] {
    try model.expressions.map {
      try SplitExpression($0, dialect: name == "cl100k" ? .fancyRegex : .oniguruma)
    }
  }

  @Test func `Expressions of published models cut where Python's engines cut`() throws {
    for (name, model) in try goldens().models {
      let expressions = try expressions(name, model)
      for (text, golden) in zip(try goldens().texts, model.lengths) {
        #expect(
          lengths(expressions, Array(text.utf8)) == golden, "\(name) \(text.debugDescription)")
      }
    }
  }

  @Test func `They cut every kind of text where Python's engines cut`() throws {
    for (name, kinds) in try goldens().samples {
      let expressions = try expressions(name, #require(try goldens().models[name]))
      for (kind, golden) in kinds {
        let sample = SampleText.make(try #require(SampleText.Kind(rawValue: kind)), count: 20_000)
        let found = lengths(expressions, sample)
        #expect(found.count == golden.count, "\(name) \(kind)")
        #expect(hash(found.lazy.map { UInt64($0) }) == golden.hash, "\(name) \(kind)")
      }
    }
  }

  @Test func `Expressions made at random cut where Oniguruma cuts`() throws {
    for golden in try goldens().random {
      let expression = try SplitExpression(golden.expression)
      let text = Array(golden.text.utf8)
      #expect(
        lengths([expression], text) == golden.lengths,
        "\(golden.expression) \(golden.text.debugDescription)")
    }
  }

  @Test func `Marking failed choices changes no match`() throws {
    let goldens = try goldens()
    var generator = Generator(state: 5)
    for golden in goldens.random {
      let expression = try SplitExpression(golden.expression)
      let long = (0..<60).map { _ in Array("aab c1\nA".utf8)[generator.pick(8)] }
      for text in [Array(golden.text.utf8), long] {
        #expect(
          expression.matches(in: text, marksFromStart: true) == expression.matches(in: text),
          "\(golden.expression) \(String(decoding: text, as: UTF8.self).debugDescription)")
      }
    }
    for (name, model) in goldens.models {
      for expression in try expressions(name, model) {
        let sample = SampleText.make(.unicode, count: 5_000)
        #expect(
          expression.matches(in: sample, marksFromStart: true) == expression.matches(in: sample))
      }
    }
  }

  @Test func `Every behaviour makes of matches what Python makes of them`() throws {
    for golden in try goldens().behaviors {
      let pieces = try SplitExpression(golden.expression).pieces(
        of: Array(golden.text.utf8), behavior: golden.name, isInverted: golden.isInverted)
      #expect(
        pieces.map { String(decoding: $0, as: UTF8.self) } == golden.pieces.filter { !$0.isEmpty },
        "\(golden)")
    }
  }

  @Test func `The scanners of known expressions cut as the general matcher does`() throws {
    let alphabet = Array(
      "  \n\r\t'sStTrReEvVmMlLdDſaé日\u{301}19٣Ⅷ.,!-_🦙\u{A0}\u{2028}".unicodeScalars)
    var generator = Generator(state: 77)
    var texts = SampleText.Kind.allCases.map { SampleText.make($0, count: 20_000) }
    for _ in 0..<400 {
      var text = String.UnicodeScalarView()
      for _ in 0..<generator.pick(40) { text.append(alphabet[generator.pick(alphabet.count)]) }
      texts.append(Array(String(text).utf8))
    }
    for (source, pattern) in SplitPattern.known {
      let expression = try SplitExpression(source)
      for text in texts {
        #expect(
          pattern.pieces(of: text) == expression.pieces(of: text),
          "\(String(decoding: text.prefix(60), as: UTF8.self).debugDescription)")
      }
    }
  }

  @Test(arguments: [
    ("(?>ab)+", "atomic group"), (#"(a)\1"#, #"escape "\1""#), ("[a", #"lacks a "]""#),
    ("a)", "too many"),
    ("(?:a*)*", "may match nothing"), ("(?:ab)++", "possessively"), (#"\p{Nonsense}"#, "Nonsense"),
    ("a{2,1}", "counts from 2 to 1"), ("a{1001}", "limit of 1000"), ("(?<=a+)b", "no fixed length"),
    ("*a", "repeats nothing"),
    (String(repeating: "(", count: 60), "nested more than 50"), (#"\X"#, #"escape "\X""#),
    (String(repeating: "a", count: 20_001), "limit of 20000"),
    ("(?:(?:ab){900}){900}", "8000 instructions"),
    ("(?i)\\p{Lu}", "ignores the case"), ("[z-a]", "descends"), ("(?<n>a)\\k<n>", #"escape "\k""#),
    ("\\", "ends too early"),
  ])
  func `An expression that is not understood is refused by name`(
    expression: String, problem: String
  ) throws {
    let error = #expect(throws: SplitExpressionError.self) { try SplitExpression(expression) }
    #expect(error?.problem.contains(problem) == true, "\(error?.problem ?? "")")
  }

  /// A backtracking engine takes exponential or quadratic time for these.
  @Test(arguments: [
    "(?:a|aa|aaa)+c", "(?:a+)+c", "(?:a+b?)+c", "a*b|a", "a*a*a*b|a", "(?:a+b+)+c|a",
    "(?:ab|a|b)*c|b", ".*a+c|a", "(?=(?:a|b)*c)a",
    "(?:(?=a*b*c)a|b)+c|a", "a++c|a", "(?:ab)*c|a", ".*?.*?c|b", "(?:a{1,20}){1,20}c", "(?!.*c).",
  ])
  func `No expression takes more than linear time`(expression: String) throws {
    let expression = try SplitExpression(expression)
    let texts: [[UInt8]] = [
      Array(repeating: 0x61, count: 200_000),
      Array(repeating: [0x61, 0x62], count: 100_000).flatMap { $0 },
      Array(repeating: 0x61, count: 100_000) + Array(repeating: 0x62, count: 100_000),
    ]
    let clock = ContinuousClock()
    let time = clock.measure {
      for text in texts { #expect(expression.matches(in: text).count <= text.count) }
    }
    #expect(time < .seconds(60), "\(time)")
  }
}
