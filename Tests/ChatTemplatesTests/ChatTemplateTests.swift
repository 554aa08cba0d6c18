import ChatTemplates
import Testing

/// Against jinja2, set up as Hugging Face sets it up.
@Suite struct ChatTemplateTests {
  private struct Goldens: Decodable {
    let conversations: [[[String]]]
    let templates: [String: String]
    let snippets: [[String?]]
    let generated: [[String?]]
    let rendered: [String: [String?]]
    let hashes: [String: [String?]]
  }

  private static func goldens() throws -> Goldens {
    try Files.golden("chat-cases.json", as: Goldens.self)
  }

  private func messages(_ conversation: [[String]]) -> [ChatMessage] {
    conversation.map { ChatMessage(role: $0[0], content: $0[1]) }
  }

  /// The text, or nil if reading or rendering fails.
  private func render(
    _ source: String, _ conversation: [[String]], addGenerationPrompt: Bool = true,
    variables: [String: ChatTemplateValue] = [:]
  ) -> (text: String?, error: ChatTemplateError?) {
    do {
      let segments = try ChatTemplate(source: source).render(
        messages: messages(conversation), addGenerationPrompt: addGenerationPrompt,
        beginningOfTextToken: "<s>", endOfTextToken: "</s>", variables: variables)
      return (segments.map(\.text).joined(), nil)
    } catch {
      return (nil, error)
    }
  }

  /// Everything that a template renders, in the order of the goldens.
  private func allRendered(_ source: String, _ goldens: Goldens) -> [String?] {
    goldens.conversations.flatMap { conversation in
      [false, true].map { render(source, conversation, addGenerationPrompt: $0).text }
    }
  }

  @Test func `Every construct means what it means to jinja2`() throws {
    let goldens = try Self.goldens()
    for snippet in goldens.snippets {
      let source = try #require(snippet[0])
      let (text, error) = render(source, goldens.conversations[0])
      #expect(
        text.map { Array($0.utf8) } == snippet[1].map { Array($0.utf8) },
        "\(source.debugDescription): \(text.debugDescription) \(error.debugDescription)")
    }
  }

  @Test(arguments: ["marks", "strict", "lines", "thinking", "markers", "instructions", "turns"])
  func `A whole template renders conversations as jinja2 does`(name: String) throws {
    let goldens = try Self.goldens()
    let source = try #require(goldens.templates[name])
    let expected = try #require(goldens.rendered[name])
    for (text, golden) in zip(allRendered(source, goldens), expected) {
      #expect(text.map { Array($0.utf8) } == golden.map { Array($0.utf8) }, "\(text ?? "") ")
    }
  }

  @Test(
    .enabled(if: Files.shared != nil, "needs the shared data"),
    arguments: [
      "Qwen-Qwen2.5-7B-Instruct.jinja", "meta-llama-Llama-3.1-8B-Instruct.jinja",
      "microsoft-Phi-3.5-mini-instruct.jinja", "tiny-model", "vectors/phi3",
    ])
  func `A published template renders conversations as jinja2 does`(name: String) throws {
    let goldens = try Self.goldens()
    let source =
      name.hasSuffix(".jinja")
      ? String(decoding: try Files.bytes(Files.shared("vectors/templates/\(name)")), as: UTF8.self)
      : try Files.chatTemplate(inConfigurationOf: Files.shared(name))
    let expected = try #require(goldens.hashes[name])
    for (text, golden) in zip(allRendered(source, goldens), expected) {
      #expect(text.map { hash($0.utf8.lazy.map { UInt64($0) }) } == golden, "\(text ?? "")")
    }
  }

  @Test func `Random templates render or fail as jinja2 does`() throws {
    let goldens = try Self.goldens()
    let variables = try Self.variables()
    for sample in goldens.generated {
      let source = try #require(sample[0])
      let (text, error) = render(source, goldens.conversations[0], variables: variables)
      #expect(
        text.map { Array($0.utf8) } == sample[1].map { Array($0.utf8) },
        "\(source.debugDescription): \(text.debugDescription) \(error.debugDescription)")
    }
  }

  /// Those of `template_generator.py`.
  private static func variables() throws -> [String: ChatTemplateValue] {
    [
      "name": .string("Ada"), "count": .integer(4),
      "items": .list([.integer(1), .string("two"), .list([.integer(3)])]),
      "data": .object([
        .init("list", .list([.integer(1), .object([.init("k", .string("v"))])])),
        .init("text", .string("T")),
      ]),
    ]
  }

  @Test(arguments: [
    ("a\nb\n{% do x %}", 3, #"the statement "do" is not one of Jinja's"#),
    ("{{ 1 }}\n{{ x | nofilter(3) }}", 2, #"there is no filter "nofilter""#),
    ("{{ x | pprint }}", 1, #"the filter "pprint" is not supported"#),
    ("{{ x is oddly }}", 1, #"there is no test "oddly""#),
    ("\n{{ 'a'.append(1) }}", 2, "a text has no append, so cannot be called"),
    ("\n{{ [].append(1) }}", 2, "append would change a list, and a template cannot"),
    ("\n{% include 'x' %}", 2, #""include" needs another template"#),
    ("{% if a %}\n\nb\n", 3, #"the template ends before "endif""#),
    ("{{ 'abc", 1, "a string that does not end"),
    ("{{ a\n\n", 1, "a tag that does not end"),
    ("{# a", 1, "a comment that does not end"),
    ("{% raw %} a", 1, "a raw block that does not end"),
    ("{% break %}", 1, #""break" outside of a loop"#),
    ("\n\n{{ raise_exception('only users') }}", 3, "only users"),
    ("{{ nothing.at.all }}", 1, "nothing is undefined, so has no at"),
    ("{{ 'a' +\n none }}", 1, "a text + none has no value"),
    ("{{ range(100000000) }}", 1, "a range of more than 100000 numbers"),
    ("{{ 9223372036854775807 + 1 }}", 1, "a number that is too large"),
    ("{% macro f(a) %}\n{{ a }}{% endmacro %}\n{{ f(b=1) }}", 3, #"has no parameter "b""#),
  ])
  func `What has no value is named with its line`(
    source: String, line: Int, message: String
  ) throws {
    let error = try #require(render(source, []).error)
    #expect(error.line == line)
    #expect(error.problem.contains(message), "\(error)")
    #expect(error.description.hasPrefix("chat template: line \(line): "))
  }

  @Test(arguments: [
    "{% if false %}{{ 1 | nofilter }}{% endif %}", "{% if false %}{% include 'x' %}{% endif %}",
    "{% for x in [] %}{{ x is notest }}{% endfor %}",
    "{% macro f() %}{{ 'a'.nothing(1) }}{% endmacro %}",
  ])
  func `What is not reached is not refused`(source: String) {
    #expect(render(source, []).text == "")
  }

  @Test func `Damaged templates give errors or texts, never a crash`() throws {
    let goldens = try Self.goldens()
    var generator = Generator(state: 5)
    var failures = 0
    for round in 0..<400 {
      let names = goldens.templates.keys.sorted()
      var source = Array(try #require(goldens.templates[names[round % names.count]]).unicodeScalars)
      for _ in 0...generator.pick(3) {
        let place = generator.pick(source.count)
        switch generator.pick(3) {
        case 0: source.remove(at: place)
        case 1:
          source.insert(Array("{}%#-|.[]('\"+~ :,".unicodeScalars)[generator.pick(17)], at: place)
        default: source.removeSubrange(place..<min(source.count, place + generator.pick(20)))
        }
        if source.isEmpty { source = ["x"] }
      }
      var text = String.UnicodeScalarView()
      text.append(contentsOf: source)
      if render(String(text), goldens.conversations[0]).error != nil { failures += 1 }
    }
    #expect(failures > 100)
  }

  @Test func `Other members and variables reach the template`() throws {
    let source =
      "{{ messages[0].name }} {{ tools | tojson }} {{ strftime_now('%Y') }} {{ bos_token }}|"
    let message = ChatMessage(
      role: "user", content: "", members: [.init("name", .string("Ada"))])
    let segments = try ChatTemplate(source: source).render(
      messages: [message], addGenerationPrompt: false,
      variables: ["tools": .list([.object([.init("n", .integer(1)), .init("x", .null)])])],
      currentTime: 1_000_000_000)
    #expect(segments.map(\.text).joined() == #"Ada [{"n": 1, "x": null}] 2001 |"#)
  }
}
