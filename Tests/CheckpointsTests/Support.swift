import Checkpoints
import JSON

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A directory that is removed with this object.
final class TemporaryDirectory {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/checkpoints-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func path(of name: String) -> String { path + "/" + name }

  func write(_ text: String, to name: String) throws {
    try SafetensorsWriter.write(bytes: Array(text.utf8), to: path(of: name))
  }

  func write(_ tensors: [SafetensorsWriter.Tensor], to name: String) throws {
    try SafetensorsWriter.write(tensors, to: path(of: name))
  }
}

/// The error that `body` throws, nil when it throws none.
func failure<Value>(of body: () throws(CheckpointError) -> Value) -> CheckpointError? {
  do {
    _ = try body()
    return nil
  } catch {
    return error
  }
}

/// Whether the message is one line that names everything in `parts`.
func isOneLine(_ error: CheckpointError?, naming parts: String...) -> Bool {
  guard let text = error?.description else { return false }
  return !text.contains { $0.isNewline } && parts.allSatisfy { text.contains($0) }
}

/// `config.json` of a small Llama; `changes` replace or add fields (JSON text), nil removes one.
func configurationText(_ changes: [String: String?] = [:]) -> String {
  var fields: [String: String?] = [
    "model_type": "\"llama\"", "hidden_size": "64", "intermediate_size": "128",
    "num_hidden_layers": "2", "num_attention_heads": "4", "vocab_size": "100",
    "max_position_embeddings": "256",
  ]
  for (field, value) in changes { fields[field] = .some(value) }
  let members = fields.compactMap { field, value in value.map { "\"\(field)\": \($0)" } }
  return "{" + members.sorted().joined(separator: ", ") + "}"
}

func configuration(_ changes: [String: String?] = [:]) throws(CheckpointError) -> ModelConfiguration
{
  let json: JSONValue
  do {
    json = try JSONValue(parsing: Array(configurationText(changes).utf8))
  } catch {
    throw .malformedJSON(file: "config.json", offset: error.offset, problem: error.problem)
  }
  return try ModelConfiguration(json: json, file: "config.json")
}

/// SplitMix64: the same numbers everywhere.
struct DeterministicGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
