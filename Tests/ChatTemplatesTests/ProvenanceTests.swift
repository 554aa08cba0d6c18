import ChatTemplates
import Testing

/// What a user wrote stays apart from what the template wrote.
@Suite struct ProvenanceTests {
  private func segments(_ source: String, _ content: String) throws -> [ChatSegment] {
    try ChatTemplate(source: source).render(
      messages: [ChatMessage(role: "user", content: content)], addGenerationPrompt: false)
  }

  /// The text with what the user wrote in brackets.
  private func marked(_ source: String, _ content: String) throws -> String {
    try segments(source, content).map { $0.isContent ? "⟦\($0.text)⟧" : $0.text }.joined()
  }

  @Test(arguments: [
    ("<{{ c }}>", "<⟦a b⟧>"),
    ("{{ '[' + c | trim + ']' }}", "[⟦a b⟧]"),
    ("{{ '[' ~ c ~ ']' }}", "[⟦a b⟧]"),
    ("{{ c[1:] }}|{{ c[0] }}|{{ c[::-1] }}", "⟦ b⟧|⟦a⟧|⟦b a⟧"),
    ("{{ c | upper }}{{ c.title() }}{{ c | capitalize }}", "⟦A BA BA b⟧"),
    ("{{ c.replace(' ', '<s>') }}", "⟦a⟧<s>⟦b⟧"),
    ("{{ 'x-y'.replace('-', c) }}", "x⟦a b⟧y"),
    ("{{ c.split() | join('+') }}", "⟦a⟧+⟦b⟧"),
    ("{{ ('<' ~ c ~ '>').split(' ') | join('|') }}", "<⟦a⟧|⟦b⟧>"),
    ("{{ c | tojson }}", "\"⟦a b⟧\""),
    ("{{ [c, {'k': c}] }}", "['⟦a b⟧', {'k': '⟦a b⟧'}]"),
    ("{{ {'k': c} | tojson(indent=1) }}", "{\n \"k\": \"⟦a b⟧\"\n}"),
    ("{{ {c: 1} | items | first | first }}", "⟦a b⟧"),
    ("{{ '%s|%4s' % (c, 1) }}", "⟦a b⟧|   1"),
    ("{{ '{}-{x:>5}'.format(c, x=c) }}", "⟦a b⟧-  ⟦a b⟧"),
    ("{{ c | center(7) }}|{{ c.zfill(5) }}|{{ c * 2 }}", "  ⟦a b⟧  |00⟦a b⟧|⟦a ba b⟧"),
    ("{% set x %}<{{ c }}>{% endset %}{{ x }}{{ x | upper }}", "<⟦a b⟧><⟦A B⟧>"),
    (
      "{% macro f(x) %}<{{ x }}>{{ caller() }}{% endmacro %}{% call f(c) %}{{ c }}!{% endcall %}",
      "<⟦a b⟧>⟦a b⟧!"
    ),
    ("{% filter replace('a', 'z') %}<{{ c }}>{% endfilter %}", "<z⟦ b⟧>"),
    ("{% generation %}{{ c }}.{% endgeneration %}", "⟦a b⟧."),
    ("{% for x in c %}{{ x }}.{% endfor %}", "⟦a⟧.⟦ ⟧.⟦b⟧."),
    ("{{ [c, 'z'] | sort | last }}{{ [c] | map('upper') | first }}", "z⟦A B⟧"),
    ("{{ c | indent(2, true) }}{{ c.partition(' ') | join }}", "  ⟦a ba b⟧"),
    ("{{ (c ~ '<') | e }}", "⟦a b⟧&lt;"),
    ("{{ c | truncate(2, true, '~', 0) }}", "⟦a⟧~"),
    ("{% set ns = namespace(x=c) %}{{ ns.x }}{{ namespace(y=ns.x).y ~ '' }}", "⟦a ba b⟧"),
  ])
  func `Content stays marked, and only content is`(body: String, expected: String) throws {
    #expect(try marked("{% set c = messages[0].content %}" + body, "a b") == expected)
  }

  @Test func `Segments are never empty, and alternate`() throws {
    let segments = try segments("{{ '' }}{{ messages[0].content }}{{ '' }}", "")
    #expect(segments.isEmpty)
    let source =
      "{% for i in range(3) %}<{{ messages[0].content }}{{ messages[0].content }}>{% endfor %}"
    let alternating = try self.segments(source, "x")
    #expect(alternating.map(\.text) == ["<", "xx", "><", "xx", "><", "xx", ">"])
    #expect(alternating.map(\.isContent) == [false, true, false, true, false, true, false])
  }
}
