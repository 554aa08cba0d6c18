import ChatTemplates
import TemporaryCheckpoints
import Testing
import Tokenizers

/// Tokenizers, split patterns and chat templates.
@Suite struct TextFuzzTests {
  @Test func `Mutated tokenizers are loaded and used, or refused`() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory, withWeights: false)
    let seed = try FuzzFiles.bytes(of: directory.path("model/tokenizer.json"))
    let mutation = Mutation(
      seeds: [seed],
      fragments: [
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaa\"},",
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[", "\"merges\":[[\"a\",\"b\"]],",
        "\"type\":\"BPE\"", "\"type\":\"Unigram\"", "\"added_tokens\":[", "\"special\":true",
        "\"lstrip\":true", "{\"Regex\":\"(a|a)*\"}", "\"id\":4294967295", "\"byte_fallback\":true",
      ])
    let text = "Hello wörld <|x|> 123\n\n  日本 aaaaaaaaaaaaaaaa"
    var run = FuzzRun("tokenizer", mutation, rounds: 400)
    let counts = try run.run { input in
      try directory.write(input, to: "model/tokenizer.json")
      let tokenizer = try Tokenizer(directory: directory.path("model"))
      let ids = tokenizer.encode(text)
      guard ids.count <= 1 << 22 else {
        throw FuzzFailure(what: "\(ids.count) ids")
      }
      _ = tokenizer.decode(ids)
    }
    #expect(counts.accepted > 0 && counts.refused > 0)
  }

  @Test func `Mutated tokenizer settings are read or refused`() throws {
    let directory = try TemporaryDirectory()
    try TinyCheckpoint.write(to: directory, withWeights: false)
    let mutation = Mutation(
      texts: [
        #"{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "#
          + #""chat_template": "{{ messages[0].content }}", "added_tokens_decoder": "#
          + #"{"300": {"content": "<|turn|>", "special": true}}, "model_max_length": 1e30}"#
      ],
      fragments: ["\"chat_template\":[{\"name\":\"default\",\"template\":\"\"}],", "\"299\""])
    var run = FuzzRun("tokenizer_config", mutation, rounds: 400)
    _ = try run.run { input in
      try directory.write(input, to: "model/tokenizer_config.json")
      let tokenizer = try Tokenizer(directory: directory.path("model"))
      _ = tokenizer.encode("a<|turn|>b")
    }
  }

  private struct Refused: Error {}

  @Test func `Mutated split patterns cut texts from end to end, or are refused`() throws {
    let mutation = Mutation(
      texts: [
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
          + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#,
        #"[\p{Han}]+|[\p{Lu}\p{Lt}&&[^\p{Han}]]*[\p{Ll}\p{M}]+|\p{N}{1,3}+|\s++$"#,
        ##"[一-龥぀-ゟ]+|[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
      ],
      fragments: [
        "(a|a)*", "(?:", ")", "{1000}", "{0,}", "\\p{Greek}", "[^", "(?<!a)", "++", "*?", "\\1",
        "$",
      ])
    let text = Array("Hello WORLD's 12345 日本語 e\u{301}\n\n  x\t\r\n".utf8)
    var run = FuzzRun("pattern-expression", mutation, rounds: 1500)
    let counts = try run.run { input in
      let expression: SplitExpression
      do throws(SplitExpressionError) {
        expression = try SplitExpression(String(decoding: input, as: UTF8.self))
      } catch {
        // Its reader makes the message, with what is printable of the expression.
        throw Refused()
      }
      var end = 0
      for match in expression.matches(in: text) {
        guard match.lowerBound >= end, match.upperBound <= text.count else {
          throw FuzzFailure(what: "a match at \(match) behind \(end)")
        }
        end = match.upperBound
      }
    }
    #expect(counts.accepted > 100 && counts.refused > 100)
  }

  @Test func `Mutated chat templates are rendered within their budget, or refused`() throws {
    let mutation = Mutation(
      texts: [
        "{%- for message in messages %}{{ '<|' + message['role'] + '|>' }}\n{{ message.content | trim }}"
          + "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "{% set ns = namespace(x=[], n=0) %}{% for i in range(9) %}{% set ns.n = ns.n + i %}{% endfor %}"
          + "{{ ns.n }}{% macro m(a, b=2) %}{{ a ~ b }}{% endmacro %}{{ m(1) }}{{ messages | tojson }}",
        "{% if tools %}{% for tool in tools %}{{ tool | tojson(indent=2) }}{% endfor %}{% endif %}"
          + "{{ messages | map(attribute='role') | join(', ') | upper }}{{ '%05.2f' | format(3.14159) }}",
      ],
      fragments: [
        "{% set ns.x = [ns.x, ns.x] %}", "{{ ns.x == ns.x }}", "range(1000000)", "|length", "|list",
        "{% for a in range(9999) %}", "{% endfor %}", "{{ 'a' * 99999999 }}",
        "|replace('a', 'aaaa')",
        "{% include 'x' %}", "{{ raise_exception('no') }}", "{% endif %}", "loop.index", "|sort",
        "namespace()", "{{ self }}", "|dictsort", "{{ messages }}", "[::-1]", "not ", "(((((",
      ], mostChanges: 4)
    let messages = [
      ChatMessage(role: "user", content: "Hi <|x|> 'there'"),
      ChatMessage(role: "assistant", content: "Hello\n"), ChatMessage(role: "user", content: "?"),
    ]
    var run = FuzzRun("template", mutation, rounds: 1500)
    let counts = try run.run { input in
      let template = try ChatTemplate(source: String(decoding: input, as: UTF8.self))
      let segments = try template.render(messages: messages, addGenerationPrompt: true)
      _ = segments.reduce(0) { $0 + $1.text.utf8.count }
    }
    #expect(counts.accepted > 100 && counts.refused > 100)
  }
}
