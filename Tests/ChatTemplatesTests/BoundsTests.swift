import ChatTemplates
import Testing

/// A template is part of an untrusted checkpoint: whatever it says, it ends, and says so in one line.
@Suite struct BoundsTests {
  private func failure(_ source: String) -> ChatTemplateError? {
    do {
      _ = try ChatTemplate(source: source).render(
        messages: [ChatMessage(role: "user", content: "héllo")], addGenerationPrompt: true)
      return nil
    } catch {
      return error
    }
  }

  /// `body` in a loop, with a namespace of one member.
  private static func grown(_ start: String, _ body: String, _ rounds: Int, _ end: String) -> String
  {
    "{% set ns = namespace(x=\(start)) %}{% for i in range(\(rounds)) %}\(body){% endfor %}\(end)"
  }

  private static let doubled = "{% set ns.x = [ns.x, ns.x] %}"

  @Test(arguments: [
    // Work that no expression of the template counts.
    "{% for i in range(400) %}{% if range(99999) | length %}{% endif %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{{ range(99999) | sort | length }}{% endfor %}",
    "{% set a = 'é' * 500000 %}{% for i in range(99999) %}{{ a | upper | length }}{% endfor %}",
    "{% set a = 'é' * 500000 %}{% for i in range(99999) %}{{ a.isalpha() }}{% endfor %}",
    "{% set a = 'a' * 500000 %}{% for i in range(99999) %}{{ a.split('a') | length }}{% endfor %}",
    "{% set a = 'a' * 500000 %}{% for i in range(99999) %}{{ a.find(a ~ 'b') }}{% endfor %}",
    "{% for i in range(99999) %}{{ 5e-324 | round(300) }}{{ '%.4000f' % 5e-324 }}{% endfor %}",
    "{% for i in range(99999) %}{{ strftime_now('%c' * 100) }}{% endfor %}",
    // Values that share their parts.
    grown("[1, 1]", doubled, 40, "{{ ns.x | tojson }}"), grown("[1, 1]", doubled, 40, "{{ ns.x }}"),
    grown("[1, 1]", doubled, 40, "{{ ns.x == [ns.x[0], [ns.x[1][0], ns.x[0][1]]] }}"),
    grown("[1, 1]", doubled, 40, "{{ ns.x in [[ns.x[0], [ns.x[1][0], ns.x[0][1]]]] }}"),
    grown("(1, 1)", "{% set ns.x = (ns.x, ns.x) %}", 40, "{{ {ns.x: 1} }}"),
    // Sizes.
    grown("'aaaaaaaa'", "{% set ns.x = ns.x ~ ns.x %}", 40, "{{ ns.x | length }}"),
    grown("[1]", "{% set ns.x = ns.x + ns.x %}", 64, ""),
    grown("'aa'", "{% set ns.x = ns.x.replace('a', 'a' * 99) %}", 64, ""),
    grown("'aa'", "{% set ns.x = ns.x.join(ns.x | list) %}", 64, ""),
    "{{ 'ab' * 5000000000000000000 }}", "{{ [1] * 9223372036854775807 }}",
    "{{ 'a'.center(9000000000000000000) }}", "{{ '%9000000000000d' % 5 }}",
    "{{ '{:9000000000}'.format(5) }}", "{{ [1] | batch(9223372036854775807, 0) | list }}",
    "{{ [1] | slice(9223372036854775807) | list }}", "{{ ('\\t' * 9999).expandtabs(999999) }}",
    "{{ ('a\\n' * 99999) | indent(99999) }}",
    // Depth.
    grown("[]", "{% set ns.x = [ns.x] %}", 40_000, ""),
    grown("1", "{% set ns.x = {'a': ns.x} %}", 40_000, ""),
    grown("[]", "{% set ns.x = namespace(x=ns.x) %}", 40_000, ""),
    grown("1", "{% set ns.x = cycler(ns.x) %}", 40_000, ""),
    grown("[1]", "{% set ns.x = [ns.x.index] %}", 40_000, ""),
    grown("[1]", "{% set ns.x = [ns.x] | map('list') %}", 40_000, ""),
    "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ " + String(repeating: "(", count: 300) + "1" + String(repeating: ")", count: 300) + " }}",
    "{{ " + String(repeating: "not ", count: 9000) + "1 }}",
    "{{ x" + String(repeating: ".a", count: 5000) + " }}",
    "{{ 1" + String(repeating: " + 1", count: 100_000) + " }}",
    String(repeating: "{% if 1 %}", count: 500), String(repeating: "{% raw %}", count: 5000),
    String(repeating: " ", count: 1 << 21),
    // Names that take long to compare.
    "{{ a" + String(repeating: "\u{301}\u{323}", count: 100_000) + " }}",
    "{{ dict(**{('a' ~ '\u{301}\u{323}' * 100000): 1}) }}",
    // Messages.
    "{{ raise_exception('\\x1b[31m' ~ 'a\\n' * 100000) }}",
    "{{ 1 | " + String(repeating: "a", count: 200) + " }}",
    "{{ '" + String(repeating: "\u{301}", count: 10_000) + "' ( }}",
  ])
  func `A hostile template ends in one short printable line`(source: String) throws {
    let error = try #require(failure(source))
    #expect(error.problem.unicodeScalars.count < 2 * ChatTemplateError.longestProblem)
    #expect(
      error.description.unicodeScalars.allSatisfy {
        $0.properties.generalCategory != .control && $0 != "\u{2028}" && $0 != "\u{301}"
      })
  }

  @Test(arguments: [
    // Chains of objects that change are as long as the template wants, and are released one by one.
    "{% set ns = namespace() %}{% set ns.cur = namespace() %}{% for i in range(50000) %}"
      + "{% set new = namespace() %}{% set cur = ns.cur %}{% set cur.next = new %}"
      + "{% set ns.cur = new %}{% endfor %}done",
    "{% set ns = namespace(p=1) %}{% for i in range(20000) %}{% for x in [1] %}"
      + "{% set _ = loop.changed(ns.p) %}{% set ns.p = loop %}{% endfor %}{% endfor %}done",
    "{% set ns = namespace(p=1) %}{% for i in range(20000) %}{% macro f() %}{{ x }}{% endmacro %}"
      + "{% set x = ns.p %}{% set ns.p = f %}{% endfor %}done",
  ])
  func `A long chain of objects is released without recursion`(source: String) throws {
    let segments = try ChatTemplate(source: source).render(
      messages: [ChatMessage(role: "user", content: "x")], addGenerationPrompt: true)
    #expect(segments.map(\.text).joined() == "done")
  }

  @Test func `A long conversation has room for what templates do with it`() throws {
    let content = String(repeating: "The quick brown fox.\n", count: 100_000)
    let source = """
      {%- for m in messages -%}
      {%- set c = m.content.strip().replace('<|', '<').split('</think>')[-1].lstrip('\\n') -%}
      <{{ m.role }}>{{ c | trim | tojson }}{{ c.startswith('x') }}{{ '</tool>' in c }}
      {%- endfor -%}
      """
    let segments = try ChatTemplate(source: source).render(
      messages: [ChatMessage(role: "user", content: content)], addGenerationPrompt: true)
    #expect(segments.reduce(0) { $0 + $1.text.utf8.count } > content.utf8.count)
  }
}
