import MInference
import TemporaryCheckpoints

/// The tiny checkpoint in a directory of its own, loaded on the CPU.
enum TinyModel {
  /// - Parameter write: Writes another checkpoint as "model".
  static func make(
    threads: Int = 1,
    _ write: (TemporaryDirectory) throws -> Void = { try TinyCheckpoint.write(to: $0) }
  ) throws -> (TemporaryDirectory, LanguageModel) {
    let directory = try TemporaryDirectory()
    try write(directory)
    return (directory, try load("model", in: directory, threads: threads))
  }

  static func load(
    _ name: String, in directory: TemporaryDirectory, threads: Int = 1
  ) throws -> LanguageModel {
    try LanguageModel(
      LoadOptions(directory: directory.path(name), device: .cpu, threads: threads))
  }

  /// A second checkpoint beside it, whose rotary factors change behind so many positions.
  static func makeLongRoPE(
    original: Int, in directory: TemporaryDirectory, threads: Int = 1
  ) throws -> LanguageModel {
    let factors = { (factor: Int) in
      "[" + (0..<32).map { "\(1 + factor * $0)" }.joined(separator: ", ") + "]"
    }
    try TinyCheckpoint.write(
      to: directory, name: "long",
      configuration: [
        "rope_scaling":
          #"{"type": "longrope", "original_max_position_embeddings": \#(original), "#
          + #""short_factor": \#(factors(0)), "long_factor": \#(factors(3))}"#
      ])
    return try load("long", in: directory, threads: threads)
  }
}
