package import JSON
package import MInference
import TextReports

/// What a pipeline over layers would take, predicted from what layers cost: nothing is run.
package struct PipelineBenchmark {
  package struct Row: Sendable {
    package var stages: Int
    package var tokens: Int
    package var chunks: Int
    package var seconds: Double
    package var utilization: Double
    /// The seconds of one device with as many chunks as are quickest there, over these.
    package var speedup: Double
  }

  private let shape: PipelineShape
  private let costs: PipelineCosts
  private let isSparse: Bool
  private let isProcessor: Bool

  /// - Parameters:
  ///   - shape: A name of ``ModelShape``, or a config.json.
  ///   - sparseKeys: Keys that a row computes as the mean of the heads; nil: dense attention.
  /// - Throws: `CheckpointError` for a file that is not there or not one.
  package init(
    shape: String, device: PipelineCosts.Device, sparseKeys: Double?
  ) throws {
    let shape = PipelineShape(try ModelShape.checkpoint(named: shape).configuration)
    var costs = PipelineCosts(shape, device: device)
    if let sparseKeys { costs.sparseKeys = sparseKeys }
    self.shape = shape
    self.costs = costs
    isSparse = sparseKeys != nil
    isProcessor = device == .core
  }

  /// The most stages that the shape's layers fill.
  package var mostStages: Int { shape.layers }

  /// - Parameter chunk: Tokens a chunk; nil: as the pipeline itself cuts.
  package func predict(stages: Int, tokens: Int, chunk: Int? = nil) throws -> Row {
    let plan = try PipelinePlan(
      PipelinePlan.Model(shape), devices: Array(repeating: .init(), count: stages), costs: costs,
      isProcessor: isProcessor)
    func prediction(_ layers: [Int], count: Int?) -> (PipelineChunks, PipelineSimulation) {
      let stages = PipelineSimulation.Stages(layers: layers)
      let cut = PipelineChunks(
        0..<tokens, stages: stages, costs: costs, isSparse: isSparse, granule: 1024, count: count)
      return (
        cut,
        PipelineSimulation(stages, chunks: cut.chunks, costs: costs, isSparse: isSparse)
      )
    }
    let (_, alone) = prediction([shape.layers], count: nil)
    let (cut, result) = prediction(
      plan.stages.map(\.count), count: chunk.map { max(1, (tokens + $0 - 1) / $0) })
    return Row(
      stages: stages, tokens: tokens, chunks: cut.chunks.count, seconds: result.seconds,
      utilization: result.utilization, speedup: alone.seconds / result.seconds)
  }

  package static func table(_ rows: [Row]) -> String {
    var table = TextTable(
      header: ["tokens", "stages", "chunks", "predicted", "times one", "at work"])
    for row in rows {
      table.append([
        Quantity.grouped(row.tokens), Quantity.grouped(row.stages), Quantity.grouped(row.chunks),
        Quantity.seconds(row.seconds), Quantity.fixed(row.speedup, 2),
        Quantity.percent(row.utilization),
      ])
    }
    return table.text
  }

  package static func json(_ rows: [Row]) -> JSONValue {
    .object([
      ("simulated", .boolean(true)),
      (
        "runs",
        .array(
          rows.map { row in
            .object([
              ("tokens", .integer(row.tokens)), ("stages", .integer(row.stages)),
              ("chunks", .integer(row.chunks)), ("seconds", .number(row.seconds)),
              ("times_one", .number(row.speedup)), ("at_work", .number(row.utilization)),
            ])
          })
      ),
    ])
  }
}
