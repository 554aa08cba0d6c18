import EvaluationTasks
import Testing

@Suite struct NeedleTests {
  private func needle(_ fact: String, depth: Double) -> Needle {
    Needle(fact: fact, question: "?", answer: "4821", depth: depth)
  }

  @Test(arguments: [
    ("4821", true), ("It is 4821.", true), ("the key is \"4821\"", true), ("14821", false),
    ("48210", false), ("482 1", false), ("", false), ("x4821", false), ("14821 or 4821", true),
  ])
  func `an answer counts only when it stands alone`(text: String, counts: Bool) {
    #expect(needle("", depth: 0).isAnswered(by: text) == counts)
  }

  @Test func `facts are put after the sentence that ends next`() {
    let text = "One two. Three \"four?\" Mr. Five six. Seven"
    #expect(
      Needle.hide([needle("FACT.", depth: 0)], in: text)
        == "One two. FACT. Three \"four?\" Mr. Five six. Seven")
    #expect(
      Needle.hide([needle("FACT.", depth: 0.4)], in: text)
        == "One two. Three \"four?\" FACT. Mr. Five six. Seven")
    #expect(
      Needle.hide([needle("FACT.", depth: 0.6)], in: text)
        == "One two. Three \"four?\" Mr. Five six. FACT. Seven")
    #expect(
      Needle.hide([needle("FACT.", depth: 1)], in: text)
        == "One two. Three \"four?\" Mr. Five six. FACT. Seven")
  }

  @Test func `facts at one place keep their order, and a text without sentences gets them last`() {
    let needles = [needle("A.", depth: 0.5), needle("B.", depth: 0.5)]
    #expect(Needle.hide(needles, in: "One. Two. Three.") == "One. Two. A. B. Three.")
    #expect(Needle.hide(needles, in: "no end") == "no end A. B.")
    #expect(Needle.hide(needles, in: "") == "A. B.")
  }
}
