import Grammars
import JSON
import Testing

@Suite struct JSONSchemaTests {
  private func grammar(_ schema: String) throws -> Grammar {
    try JSONSchema.grammar(of: try JSONValue(parsing: Array(schema.utf8)))
  }

  /// Whether the grammar takes all of a text.
  private func takes(_ grammar: Grammar, _ text: String) throws -> Bool {
    try GrammarState(grammar).after(Array(text.utf8))?.isComplete ?? false
  }

  @Test func `any object is taken, and nothing else`() throws {
    let grammar = try Grammar.jsonObject()
    for text in [
      "{}", "{ }", #"{"a":1}"#,
      #"{"a": [1, 2.5e3, -0], "b": {"c": null, "d": [true, "x\n\u00e9"]}}"#,
      #"{"é€𝄞": "\\"}"#,
    ] {
      #expect(try takes(grammar, text), "\(text)")
    }
    for text in [
      "", "[]", "1", "{", #"{"a"}"#, #"{"a":1,}"#, #"{a:1}"#, #"{"a":01}"#, #"{"a":"\x"}"#,
      #"{"a":"\ud800"}"#, "{\"a\":\"\n\"}", "{} {}", #"{"a":+1}"#, #"{"a":1.}"#,
    ] {
      #expect(try !takes(grammar, text), "\(text)")
    }
  }

  @Test func `bytes that are not UTF-8 are never part of a string`() throws {
    let grammar = try Grammar.jsonObject()
    let state = try #require(try GrammarState(grammar).after(Array(#"{""#.utf8)))
    for bytes: [UInt8] in [
      [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
      [0xF0, 0x80, 0x80, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF5], [0xFF], [0x7F],
    ] {
      #expect(try state.after(bytes) == nil, "\(bytes)")
    }
    #expect(try state.after(Array("é€𝄞".utf8)) != nil)
  }

  @Test func `properties come in order, and optional ones may be missing`() throws {
    let grammar = try grammar(
      #"""
      {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"},
      "c": {"enum": ["x", 2, null]}}, "required": ["b"], "additionalProperties": false}
      """#)
    for text in [
      #"{"b":true}"#, #"{"a": 1, "b": false}"#, #"{"b":true,"c":"x"}"#, #"{"a":-5,"b":true,"c":2}"#,
    ] {
      #expect(try takes(grammar, text), "\(text)")
    }
    for text in [
      "{}", #"{"a":1}"#, #"{"b":true,"a":1}"#, #"{"b":1}"#, #"{"b":true,"c":3}"#,
      #"{"b":true,"d":1}"#, #"{,"b":true}"#,
    ] {
      #expect(try !takes(grammar, text), "\(text)")
    }
  }

  @Test func `lists, lengths and references are held`() throws {
    let grammar = try grammar(
      ##"""
      {"$defs": {"node": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3},
      "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}},
      "required": ["name"]}}, "$ref": "#/$defs/node"}
      """##)
    #expect(try takes(grammar, #"{"name":"abc"}"#))
    #expect(
      try takes(grammar, #"{"name":"a","children":[{"name":"b","children":[]},{"name":"c"}]}"#))
    #expect(try !takes(grammar, #"{"name":"abcd"}"#))
    #expect(
      try !takes(
        grammar, #"{"name":"a","children":[{"name":"b"},{"name":"c"},{"name":"d"}]}"#))
  }

  @Test(arguments: [
    (#"{"type":"string","pattern":"a+"}"#, "pattern"),
    (#"{"type":"integer","minimum":3}"#, "minimum"),
    (#"{"not":{}}"#, "not"),
    (#"{"type":"object","patternProperties":{}}"#, "patternProperties"),
    (#"{"allOf":[{},{}]}"#, "allOf"),
    (#"{"$ref":"https://example.org"}"#, "outside"),
  ])
  func `what cannot be held is refused by name`(schema: String, word: String) throws {
    do {
      _ = try grammar(schema)
      Issue.record("the schema was taken")
    } catch let error as GrammarError {
      #expect("\(error)".contains(word))
    }
  }

  @Test(arguments: [
    ##"{"$ref":"#"}"##,
    ##"{"anyOf":[{"$ref":"#"},{"type":"null"}]}"##,
    ##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##,
    ##"{"type":"array","items":{"type":"string","maxLength":20000},"minItems":900,"maxItems":19000}"##,
    ##"{"type":"string","minLength":19000}"##,
    ##"{"enum":[]}"##, ##"{"type":"thing"}"##, ##"{"$ref":"#/$defs/missing"}"##, "[]", "3",
    ##"{"type":"string","minLength":3,"maxLength":2}"##,
  ])
  func `a hostile or impossible schema is refused`(schema: String) throws {
    #expect(throws: GrammarError.self) { try grammar(schema) }
  }

  @Test func `a schema with very many ways to read a text is refused or followed in bounds`()
    throws
  {
    // Each level doubles the ways.
    var schema = #"{"type":"string"}"#
    for _ in 0..<12 { schema = "{\"anyOf\":[\(schema),\(schema)]}" }
    do {
      let state = try GrammarState(try grammar(schema))
      _ = try state.after(Array("\"abc\"".utf8))
    } catch let error as GrammarError {
      #expect([.ambiguous, .tooLarge("")].contains(error) || "\(error)".contains("schema"))
    }
  }

  /// Random texts that a grammar allows are read by the reader of JSON.
  @Test func `whatever the grammar allows is JSON`() throws {
    let grammar = try grammar(
      #"""
      {"type": "object", "properties": {"n": {"type": "number"}, "s": {"type": ["string", "null"]},
      "l": {"type": "array", "items": {}}, "o": {"type": "object"}}, "required": ["n", "s", "l", "o"]}
      """#)
    var state64: UInt64 = 3
    func random(_ count: Int) -> Int {
      state64 = state64 &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state64 >> 33) % count
    }
    for _ in 0..<40 {
      var state = try GrammarState(grammar)
      var bytes: [UInt8] = []
      var budget = 200
      while !state.isFinal {
        let set = state.nextBytes
        let allowed = (0...255).map { UInt8($0) }.filter { set.contains($0) }
        var next: GrammarState?
        // From the budget's end on only bytes that lead to completion are taken.
        let start = random(allowed.count)
        for offset in allowed.indices {
          let byte = allowed[(start + offset) % allowed.count]
          guard let after = try state.after(byte), after.bytesToCompletion <= budget - 1 else {
            continue
          }
          bytes.append(byte)
          next = after
          break
        }
        state = try #require(next)
        budget -= 1
      }
      let value = try JSONValue(parsing: bytes)
      #expect(value["n"]?.double != nil && value["l"]?.elements != nil)
      #expect(bytes.count <= 200)
    }
  }

  @Test func `calls of functions stand in their tags`() throws {
    let parameters = try JSONValue(
      parsing: Array(
        #"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#.utf8))
    let grammar = try JSONSchema.toolCalls([("weather", parameters), ("stop", nil)])
    #expect(
      try takes(
        grammar,
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":\"Rome\"}}\n</tool_call>"))
    #expect(
      try takes(
        grammar,
        "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>\n"
          + "<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>"))
    #expect(
      try !takes(
        grammar, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>"))
  }
}
