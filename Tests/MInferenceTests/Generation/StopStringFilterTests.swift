import MInference
import Testing

@Suite struct StopStringFilterTests {
  /// Feeds the pieces and joins what comes out.
  private func filtered(_ pieces: [String], stops: [String]) -> (text: String, found: String?) {
    var filter = StopStringFilter(stops)
    var text = ""
    for piece in pieces { text += filter.push(piece) }
    if filter.found == nil { text += filter.finish() }
    return (text, filter.found)
  }

  @Test func `a stop string ends the text however it is cut into pieces`() {
    let text = "Yes.\nQuestion: no"
    for size in 1...text.count {
      var pieces: [String] = []
      var rest = text[...]
      while !rest.isEmpty {
        pieces.append(String(rest.prefix(size)))
        rest = rest.dropFirst(size)
      }
      let result = filtered(pieces, stops: ["\nQuestion:", "never"])
      #expect(result.text == "Yes.")
      #expect(result.found == "\nQuestion:")
    }
  }

  @Test func `what only begins like a stop string is let through in the end`() {
    #expect(filtered(["aab", "aa", "b"], stops: ["aabc"]).text == "aabaab")
    #expect(filtered(["aaaab"], stops: ["aab"]).text == "aa")
    #expect(filtered(["END", "IN", "G"], stops: ["ENDING!"]).text == "ENDING")
  }

  @Test func `the stop string that begins first counts, and text is not held back without need`() {
    #expect(filtered(["one two three"], stops: ["three", "two"]).text == "one ")
    var filter = StopStringFilter(["\n\n"])
    #expect(filter.push("hello ") == "hello ")
    #expect(filter.push("you\n") == "you")
    #expect(filter.push("and") == "\nand")
  }

  @Test func `characters of several bytes are never cut`() {
    #expect(filtered(["né", "e ✓"], stops: ["✗"]).text == "née ✓")
    #expect(filtered(["a✓✗b"], stops: ["✗"]).text == "a✓")
  }

  @Test func `no stop strings, or empty ones, change nothing`() {
    #expect(filtered(["a", "b"], stops: []).text == "ab")
    #expect(filtered(["a", "b"], stops: [""]).text == "ab")
  }
}
