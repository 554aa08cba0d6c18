import ArgumentParser
import EvaluationTasks
import MInference

/// Where the timeline of a pipeline's stages goes.
struct TraceArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "With --devices: write when each stage worked on which chunk, as a Chrome trace (Perfetto and "
        + "chrome://tracing show it).", valueName: "file"), completion: .file())
  var trace: String?

  /// Begins to record.
  ///
  /// - Throws: `CommandFailure` where one device has all layers.
  func begin(_ model: LanguageModel) throws {
    try begin(model.transformer.distribution as? LayerPipeline)
  }

  func begin(_ pipeline: LayerPipeline?) throws {
    guard trace != nil else { return }
    guard let pipeline else {
      throw CommandFailure(
        .usage, "--trace: one device has no stages to show; give --devices with several")
    }
    pipeline.trace.isOn = true
  }

  /// Writes what was recorded.
  func write(_ model: LanguageModel) throws {
    try write(model.transformer.distribution as? LayerPipeline)
  }

  func write(_ pipeline: LayerPipeline?) throws {
    guard let trace, let pipeline else { return }
    try TextFile.replace(
      trace, with: pipeline.trace.chromeTrace(names: pipeline.stageNames))
  }
}
