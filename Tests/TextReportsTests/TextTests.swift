import JSON
import TextReports
import Testing

@Suite struct TextTests {
  @Test func `a table lines its columns up`() {
    var table = TextTable(header: ["", "dense", "sparse"])
    table.append(["time", "48.5 s", "16.1 s"])
    table.append(["ratio", "", "3.0"])
    #expect(
      table.text == """
                dense  sparse
        -----  ------  ------
        time   48.5 s  16.1 s
        ratio             3.0

        """)
  }

  @Test func `JSON keeps the order of members and escapes what it must`() {
    let value = JSONValue.object([
      ("b", .string("a\"\\\n\t\r\u{1}\u{7F}é")), ("a", .array([.integer(1), .number(0.5)])),
      ("n", .number(.nan)), ("t", .boolean(true)), ("z", .null),
    ])
    #expect(
      value.serialized()
        == #"{"b": "a\"\\\n\t\r\u0001\u007fé", "a": [1, 0.5], "n": null, "t": true, "z": null}"#)
  }

  @Test func `a progress line says tokens, rate and time left, and never passes its width`() {
    let progress = ProgressText(label: "prefill", fraction: 0.25, totalTokens: 32768, elapsed: 10)
    let line = progress.line(columns: 120)
    #expect(line.contains("8,192 of 32,768 tokens  819 tokens/s  30.0 s left"))
    #expect(line.contains("[######------------------]"))
    for columns in 0...120 { #expect(progress.line(columns: columns).count <= columns) }
  }

  @Test func `a fraction out of range, or work that has just begun, gives no nonsense`() {
    let beginning = ProgressText(label: "p", fraction: 0, totalTokens: 10, elapsed: 0)
    #expect(!beginning.line(columns: 80).contains("left"))
    let past = ProgressText(label: "p", fraction: 1.5, totalTokens: 10, elapsed: 1)
    #expect(past.line(columns: 80).contains("10 of 10 tokens"))
  }
}
