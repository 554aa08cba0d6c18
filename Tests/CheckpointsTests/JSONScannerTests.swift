import Checkpoints
import Testing

@Suite struct JSONScannerTests {
  private func parse(_ text: String) throws -> JSONValue {
    try JSONScanner.parse(Array(text.utf8))
  }

  private func problem(_ bytes: [UInt8]) -> JSONScanner.Failure? {
    do {
      _ = try JSONScanner.parse(bytes)
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
    #expect(value["b"] == .object([]))
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
    guard case .number(let number) = try parse("NaN") else {
      Issue.record("NaN is not a number")
      return
    }
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

  @Test(arguments: [
    "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01",
    "-", "1.", ".5", "1e", "1e+", "tru", "nul", "\"", "\"\\", "\"\\u12", "\"\\x\"", "\"\\ud800\"",
    "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"a\nb\"", "1 2", "{} x", "[1 2]", "'a'", "+1",
    "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}",
  ])
  func `Text that is not JSON is refused`(text: String) {
    #expect(problem(Array(text.utf8)) != nil)
  }

  @Test func `Bytes that are not UTF-8 are refused`() {
    #expect(problem([0x22, 0xFF, 0x22])?.problem.contains("UTF-8") == true)
    #expect(problem([0x22, 0x5C, 0x6E, 0xC0, 0x80, 0x22])?.problem.contains("UTF-8") == true)
  }

  @Test func `Deep nesting is refused before the stack ends`() {
    let deepest = JSONScanner.maximumDepth
    #expect(problem(nested(deepest)) == nil)
    #expect(problem(nested(deepest + 1))?.problem.contains("nested") == true)
    #expect(problem([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)) != nil)
  }

  private func nested(_ depth: Int) -> [UInt8] {
    [UInt8](repeating: UInt8(ascii: "["), count: depth)
      + [UInt8](repeating: UInt8(ascii: "]"), count: depth)
  }
}
