import EvaluationTasks
import MInference
import Testing

@Suite struct IndexSurveyTests {
  private func bands(_ offsets: [Int32], _ columns: [Int32]) -> PairSelection {
    .bands(BandSelection(slashOffsets: offsets, columns: columns))
  }

  @Test func `overlap is what is shared of what is chosen, without the forced indices`() {
    let one = bands([0, 1, 99, 100, 200, 300], [0, 29, 30, 40])
    let other = bands([0, 50, 200, 300, 400], [1, 40, 50, 60])
    let overlap = IndexSurvey.overlap(one, other)
    #expect(overlap.offsets == 0.5)
    #expect(overlap.columns == 0.25)
    #expect(IndexSurvey.overlap(one, one) == IndexSurvey.Overlap(columns: 1, offsets: 1))
    let forced = bands([0, 1], [0, 1])
    #expect(IndexSurvey.overlap(forced, forced) == IndexSurvey.Overlap(columns: nil, offsets: nil))
    #expect(IndexSurvey.overlap(.all, one).columns == nil)
    let markdown = IndexSurvey.markdown([[overlap, IndexSurvey.overlap(.all, one)]])
    #expect(markdown.contains("25 / 50"))
    #expect(markdown.contains("- / -"))
  }

  @Test func `kept selections begin a sequence, and a new one too`() {
    var selections = SelectionMemory.Selections()
    selections[2, 1] = BandSelection(slashOffsets: [0, 7], columns: [3])
    let memory = SelectionMemory(selections)
    #expect(memory[2, 1]?.columns == [3])
    #expect(memory[1, 2] == nil)
    memory.removeAll()
    #expect(memory[2, 1] == nil)
  }
}
