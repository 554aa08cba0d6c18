import JSON
import MInference
import Testing

@Suite struct OutputTests {
  /// Every way to cut a text into pieces of one length.
  private func pieces(_ text: String, length: Int) -> [String] {
    var rest = Array(text)
    var result: [String] = []
    while !rest.isEmpty {
      result.append(String(rest.prefix(length)))
      rest.removeFirst(min(length, rest.count))
    }
    return result
  }

  @Test(arguments: 1...9)
  func `a tag is found wherever the text is cut`(length: Int) {
    var scanner = TagScanner()
    var before = ""
    var after = ""
    var isFound = false
    for piece in pieces("one <thin> two<think>three</", length: length) {
      var text = piece
      while true {
        switch scanner.push(text, tags: isFound ? ["</think>"] : ["<think>"]) {
        case .text(let certain):
          if isFound { after += certain } else { before += certain }
        case .tag(let certain, let tag, let rest):
          #expect(tag == "<think>" && !isFound)
          before += certain
          isFound = true
          text = rest
          continue
        }
        break
      }
    }
    after += scanner.finish()
    #expect(before == "one <thin> two" && after == "three</")
  }

  @Test(arguments: 1...40)
  func `a call's arguments come as they are written`(length: Int) throws {
    let arguments = #"{"city": "Rome } \" {", "days": [1, {"a": 2}]}"#
    var reader = ToolCallReader()
    var names: [String] = []
    var joined = ""
    for piece in pieces("\n{\"name\": \"weather\", \"arguments\": \(arguments)}\n", length: length)
    {
      let found = reader.push(piece)
      if let name = found.name { names.append(name) }
      joined += found.arguments
    }
    #expect(names == ["weather"])
    #expect(joined == arguments)
  }

  @Test func `arguments in front of the name wait for it`() {
    var reader = ToolCallReader()
    #expect(reader.push(#"{"parameters": {"a": 1}, "na"#).arguments.isEmpty)
    let found = reader.push(#"me": "f"}"#)
    #expect(found.name == "f" && found.arguments == #"{"a": 1}"#)
  }
}
