import JSON
import Testing

@Suite struct JSONReadingTests {
  private func parse(_ text: String, _ policy: JSONPolicy = .python) throws -> JSONValue {
    try JSONValue(parsing: Array(text.utf8), policy: policy)
  }

  private func problem(_ bytes: [UInt8], _ policy: JSONPolicy = .python) -> JSONError? {
    do {
      _ = try JSONValue(parsing: bytes, policy: policy)
      return nil
    } catch {
      return error
    }
  }

  @Test func `Values of every kind are read`() throws {
    let text = #" {"a": [1, -2, 0, 2.5e1, true, false, null, "x"], "b": {}, "c": []} "#
    let value = try parse(text)
    #expect(
      value["a"]
        == .array([
          .integer(1), .integer(-2), .integer(0), .number(25), .boolean(true), .boolean(false),
          .null, .string("x"),
        ]))
    #expect(value["b"] == .object([JSONValue.Member]()))
    #expect(value["c"] == .array([]))
    #expect(value["d"] == nil)
  }

  @Test func `Strings keep their escapes' meaning`() throws {
    let text = #""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00 é""#
    #expect(try parse(text) == .string("\"\\/\u{8}\u{C}\n\r\tA\u{e9}😀 é"))
  }

  @Test func `Python's NaN and Infinity are numbers`() throws {
    #expect(
      try parse("[Infinity, -Infinity]") == .array([.number(.infinity), .number(-.infinity)]))
    let number = try #require(try parse("NaN").double)
    #expect(number.isNaN)
  }

  @Test func `Whole numbers past Int become real ones and never trap`() throws {
    #expect(try parse("9223372036854775807") == .integer(.max))
    #expect(try parse("9223372036854775808") == .number(0x1p63))
    #expect(try parse("-9223372036854775808") == .integer(.min))
    #expect(try parse("1e999") == .number(.infinity))
    let digits = String(repeating: "9", count: 5000)
    #expect(try parse(digits) == .number(.infinity))
  }

  /// Texts and what Python 3's `json.loads` makes of them, printed by `json.dumps`.
  @Test(arguments: [
    (#"{"a": 1, "b": 2, "a": 3}"#, #"{"a": 3, "b": 2}"#),
    (#"{"a": 1, "\u0061": 2}"#, #"{"a": 2}"#),
    (#"{"": 0, "": {"x": [1, 2], "x": []}}"#, #"{"": {"x": []}}"#),
    ("[1.0, -0.5, 1e2, 1E-2, -0]", "[1.0, -0.5, 100.0, 0.01, 0]"),
    ("\t[ ]\r\n", "[]"),
    (#""\u007f\u00e9""#, "\"\\u007fé\""),
  ])
  func `Objects and numbers are read as Python reads them`(text: String, written: String) throws {
    #expect(try parse(text).serialized() == written)
  }

  @Test(arguments: [
    "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01",
    "-", "1.", ".5", "1e", "1e+", "tru", "nul", "\"", "\"\\", "\"\\u12", "\"\\x\"", "\"\\ud800\"",
    "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"a\nb\"", "1 2", "{} x", "[1 2]", "'a'", "+1", "-NaN",
    "0x10", "// a\n1", "/* a */ 1", "\u{FEFF}1", "\u{A0}1", "[,]", "{,}", "\"\\v\"", "Infinit",
  ])
  func `Text that is not JSON is refused`(text: String) {
    #expect(problem(Array(text.utf8)) != nil)
  }

  @Test func `Every truncation of a text is refused at a byte within it`() {
    let text = Array(#"{"a": [1, 2.5, "x\u00e9\n"], "b": {"c": null}, "d": "é"}"#.utf8)
    #expect(problem(text) == nil)
    for count in text.indices {
      let error = problem(Array(text[..<count]))
      #expect(error.map { $0.offset <= count } == true, "\(count) bytes")
    }
  }

  @Test(arguments: ["{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "[{\"\":1,\"\":1}]"])
  func `A key that appears twice is refused where the policy says so`(text: String) {
    #expect(problem(Array(text.utf8)) == nil)
    #expect(problem(Array(text.utf8), .uniqueKeys)?.problem.contains("appears twice") == true)
  }

  @Test func `Of many members with one key the last value stands where the first stood`() throws {
    let members = (0..<1000).map { "\"\($0 % 100)\": \($0)" }.joined(separator: ",")
    guard case .object(let read) = try parse("{\(members)}") else {
      Issue.record("no object")
      return
    }
    #expect(read.map(\.key) == (0..<100).map(String.init))
    #expect(read.map(\.value) == (900..<1000).map { .integer($0) })
  }

  @Test func `Keys that are canonically equivalent stay apart`() throws {
    let value = try parse("{\"\u{e9}\": 1, \"e\u{301}\": 2}", .uniqueKeys)
    #expect(value["\u{e9}"] == .integer(1))
    #expect(value["e\u{301}"] == .integer(2))
    #expect(JSONValue.string("\u{e9}") != .string("e\u{301}"))
    #expect(ByteString("\u{e9}") != ByteString("e\u{301}"))
    #expect(ByteString("a").hashValue == ByteString("a").hashValue)
  }

  @Test(.timeLimit(.minutes(1)))
  func `Long runs of combining marks take linear time`() throws {
    // Swift's own hash of such a key takes minutes.
    let marks = String(repeating: "\u{301}\u{323}", count: 500_000)
    let members = (0..<12).map { "\"\($0)\(marks)\": \($0)" }.joined(separator: ",")
    let value = try parse("{\(members)}")
    #expect(value["7\(marks)"] == .integer(7))
    #expect(value.kind == "an object")
  }

  @Test func `Bytes that are not UTF-8 are refused in keys and in strings`() {
    for inner: [UInt8] in [[0xFF], [0x5C, 0x6E, 0xC0, 0x80], [0xED, 0xA0, 0x80]] {
      let string = [0x22] + inner + [0x22]
      #expect(problem(string)?.problem.contains("UTF-8") == true)
      #expect(problem([0x7B] + string + [0x3A, 0x31, 0x7D])?.problem.contains("UTF-8") == true)
    }
  }

  @Test func `Deep nesting is refused before the stack ends`() {
    let deepest = JSONPolicy.python.maximumDepth
    #expect(problem(nested(deepest)) == nil)
    #expect(problem(nested(deepest + 1))?.problem.contains("nested") == true)
    #expect(problem([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)) != nil)
    let flat = Array("[[],[],{\"a\":{}},[[]]]".utf8)
    #expect(problem(flat, JSONPolicy(maximumDepth: 3)) == nil)
    #expect(problem(flat, JSONPolicy(maximumDepth: 2)) != nil)
  }

  private func nested(_ depth: Int) -> [UInt8] {
    [UInt8](repeating: UInt8(ascii: "["), count: depth)
      + [UInt8](repeating: UInt8(ascii: "]"), count: depth)
  }

  /// Texts of JSON5, and the same in JSON.
  @Test(arguments: [
    ("// first\n[1, /* two */ 2,]// end", "[1, 2]"),
    ("{a: 1, $b_2: 'x', 'c': 2,}", #"{"a": 1, "$b_2": "x", "c": 2}"#),
    ("[+1, -.5, 5., 0x1F, -0Xa, +Infinity]", "[1, -0.5, 5.0, 31, -10, null]"),
    (
      #"['it\'s', "\x41\v\0", 'a\<CR><LF>b', 'a\<LF>b', '\q']"#,
      #"["it's", "A\u000b\u0000", "ab", "ab", "q"]"#
    ),
    ("\u{FEFF}\u{A0}\u{B}\u{C}\u{2028}\u{2029}7", "7"), ("{é: 1}", #"{"é": 1}"#),
  ])
  func `JSON5 is read where the policy allows it`(text: String, json: String) throws {
    let text = text.replacing("<CR>", with: "\r").replacing("<LF>", with: "\n")
    #expect(try parse(text, .json5).serialized() == json)
    #expect(problem(Array(text.utf8)) != nil || json == "7" && text == json)
  }

  @Test(arguments: [
    "[,]", "{,}", "[1,,2]", "/* a", "{1a: 2}", "0x", "+", ".", "'a", "'\\1'", "/ 1",
  ])
  func `Text that is not even JSON5 is refused`(text: String) {
    #expect(problem(Array(text.utf8), .json5) != nil)
  }

  @Test func `A scanner reads a large file without making a value of it`() throws {
    let text = #" {"skip": {"a": ["]}", {"b": "\""}], "n": -1.5e3}, "vocab": {"a\n": 0, "é": 17}}"#
    try Array(text.utf8).withUnsafeBufferPointer { bytes in
      var scanner = JSONScanner(bytes)
      var key: [UInt8] = []
      var isFirst = true
      var vocabulary: [[UInt8]: Int] = [:]
      try scanner.expect(UInt8(ascii: "{"))
      while try scanner.next(until: UInt8(ascii: "}"), &isFirst) {
        try scanner.readKey(into: &key)
        if key == Array("skip".utf8) {
          let range = try scanner.skipValue()
          #expect(String(decoding: bytes[range], as: UTF8.self).hasSuffix("-1.5e3}"))
          continue
        }
        var isFirstToken = true
        try scanner.expect(UInt8(ascii: "{"))
        while try scanner.next(until: UInt8(ascii: "}"), &isFirstToken) {
          try scanner.readKey(into: &key)
          vocabulary[key] = try scanner.readIndex()
        }
      }
      try scanner.expectEnd()
      #expect(vocabulary == [Array("a\n".utf8): 0, Array("é".utf8): 17])
    }
  }

  @Test(arguments: ["", "\n{}", "\u{7}\u{1B}[2J", String(repeating: "x", count: 100_000)])
  func `A value is named in one short line`(text: String) {
    let kind = JSONValue.string(text).kind
    #expect(kind.utf8.count < 200)
    #expect(!kind.utf8.contains { $0 < 0x20 || $0 == 0x7F })
    #expect(JSONValue.number(4096).kind == "4096" && JSONValue.number(.nan).kind == "nan")
  }
}
