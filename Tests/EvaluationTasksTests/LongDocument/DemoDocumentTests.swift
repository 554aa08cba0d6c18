import EvaluationTasks
import Testing

@Suite struct DemoDocumentTests {
  private func document(_ tokens: Int, seed: UInt64 = 1) throws -> DemoDocument {
    try DemoDocument(tokens: tokens, seed: seed) { $0.utf8.count / 4 }
  }

  @Test func `a seed gives one text, and another seed another`() throws {
    let first = try document(4000)
    #expect(try document(4000).text == first.text)
    #expect(try document(4000, seed: 2).text != first.text)
  }

  @Test(arguments: [600, 4000, 32768])
  func `the document fills the length and never passes it`(tokens: Int) throws {
    let count = try document(tokens).text.utf8.count / 4
    #expect(count <= tokens)
    #expect(count > tokens - 400)
  }

  @Test func `every fact stands once, near its depth, and no other text answers a question`() throws
  {
    let document = try document(32768)
    for needle in document.needles {
      let parts = document.text.split(separator: needle.fact, omittingEmptySubsequences: false)
      #expect(parts.count == 2, "\(needle.fact)")
      let depth = Double(parts[0].utf8.count) / Double(document.text.utf8.count)
      #expect(abs(depth - needle.depth) < 0.01, "\(needle.fact) at \(depth)")
      #expect(!parts.contains { needle.isAnswered(by: String($0)) }, "\(needle.answer)")
    }
  }

  @Test func `the chronicle does not repeat its paragraphs`() throws {
    var chronicle = try TownChronicle(seed: 3)
    let paragraphs = (0..<500).map { _ in chronicle.nextParagraph() }
    #expect(Set(paragraphs).count == paragraphs.count)
    #expect(paragraphs[0].hasPrefix("CHAPTER 1\n\n"))
    #expect(paragraphs[24].hasPrefix("CHAPTER 2\n\n"))
  }
}
