import EvaluationTasks
import MInference
import Plots
import Testing

/// Pictures of the attention of the model that comes with the package.
@Suite struct HeadInspectionTests {
  private static let directory =
    #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
    + "/Models/minference-tiny"

  @Test(
    .enabled(
      if: TextFile.exists(directory + "/model.safetensors"), "Models holds no checkpoint"))
  func `a head's picture agrees with what the planner computes`() throws {
    let model = try LanguageModel(LoadOptions(directory: Self.directory))
    let tokens = try EvaluationText.tokens(300, of: nil, seed: 3, for: model)
    let options = AttentionOptions(
      mode: .verticalSlash, budgets: AttentionBudgets(vertical: 30, slash: 100), exact: true)
    let inspection = HeadInspection(
      model, tokens: tokens, planner: try model.planner(for: options), cells: 30)
    let pictures = try inspection.pictures(upToLayer: 1) { layer, head in layer == 1 && head == 2 }
    #expect(pictures.map(\.count) == [0, 1])
    let picture = pictures[1][0]
    #expect(picture.pattern == "vertical-slash(30, 100)")
    #expect(picture.columns == Array(0..<30))
    #expect(picture.offsets == Array(0..<100))
    #expect((0.3..<1).contains(picture.density))
    #expect((0.5...1).contains(picture.recall ?? 0))
    // Rows of attention add up to one, so the brightest of the first cell row is large.
    #expect(picture.image.maxima[0] > 0.05)
    expectWellFormed(picture.svg)
  }
}
