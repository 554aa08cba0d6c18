/// A model on disk: its shape, its tokenizer and its stored tensors.
///
/// Tensors have the names and the row order of Hugging Face's checkpoints of the same model type,
/// whatever the file calls them. ``openWeightSource(at:)`` makes one of a directory or of a GGUF file.
public protocol WeightSource: AnyObject, Sendable {
  /// The directory or file that was opened.
  var path: String { get }
  /// The shape of the model.
  var configuration: ModelConfiguration { get }
  /// Sampling settings that come with the model.
  var generation: GenerationConfiguration { get }
  /// Names of all tensors, in ascending order.
  var tensorNames: [String] { get }
  /// Bytes of all weight files.
  var byteCount: Int { get }

  /// Notes for the user on how weights are stored, one line each.
  var notices: [String] { get }

  /// Whether there is a tensor of this name.
  func contains(_ name: String) -> Bool

  /// The tensor of this name, of any shape.
  ///
  /// - Throws: `.missingTensor`, `.unsupportedElementType`, `.unsupportedTensorType`.
  func tensor(named name: String) throws(CheckpointError) -> TensorView

  /// Where the tokenizer is.
  ///
  /// - Throws: `.invalidField` for a vocabulary in metadata that does not fit itself.
  func tokenizerSource() throws(CheckpointError) -> TokenizerSource

  /// Throws `.changedWhileMapped` when a weight file was shortened or lengthened in place since it
  /// was opened. Worth a call after loading: the lost end of a page reads as zeros without a signal.
  func verifyUnchanged() throws(CheckpointError)
}

/// Where a model's tokenizer is.
public enum TokenizerSource: Sendable {
  /// A directory with tokenizer.json, or what else Hugging Face puts there.
  case directory(String)
  /// In the metadata of a GGUF file.
  case vocabulary(StoredVocabulary)
}

extension WeightSource {
  /// The tensor of this name, which must have this shape.
  ///
  /// - Throws: `.missingTensor`, `.unsupportedElementType`, `.unsupportedTensorType`,
  ///   `.misshapenTensor`.
  public func tensor(named name: String, shape: [Int]) throws(CheckpointError) -> TensorView {
    let tensor = try tensor(named: name)
    guard tensor.shape == shape else {
      throw .misshapenTensor(file: tensor.file, name: name, expected: shape, found: tensor.shape)
    }
    return tensor
  }
}

/// Whether what lies at `path` is a GGUF file, or a directory without tokenizer.json that holds one.
package func holdsGGUF(_ path: String) throws(CheckpointError) -> Bool {
  guard try pathKind(path) == .directory else { return path.lowercased().hasSuffix(".gguf") }
  let names = try directoryEntries(path)
  return !names.contains("tokenizer.json") && !names.contains("tokenizer.model")
    && !GGUFParts.models(among: names).isEmpty
}

/// The model at `path`: a Hugging Face directory, or its name in Hugging Face's cache (ORG/NAME); a GGUF
/// file, of several parts any one of them; or a directory that holds one GGUF model and no config.json.
///
/// - Parameter configuration: What stands for the config.json of a directory; see
///   ``Checkpoint/init(directory:configuration:)``. GGUF files have none.
/// - Throws: the first thing found wrong with it; one line that names the file.
public func openWeightSource(
  at path: String, configuration: String? = nil
) throws(CheckpointError) -> any WeightSource {
  let path = try HuggingFaceCache().path(ofModel: path)
  switch try pathKind(path) {
  case .nothing: throw .notFound(path: path)
  case .other:
    guard path.lowercased().hasSuffix(".gguf"), configuration == nil else {
      throw .notADirectory(path: path)
    }
    return try GGUFCheckpoint(file: path)
  case .directory:
    let names = try directoryEntries(path)
    let models = GGUFParts.models(among: names)
    guard !names.contains("config.json"), let first = models.first else {
      return try Checkpoint(directory: path, configuration: configuration)
    }
    guard models.count == 1 else {
      throw .severalModels(directory: path, files: models)
    }
    return try GGUFCheckpoint(file: joined(path, first))
  }
}

/// The name of a further configuration that a checkpoint brings for prompts beyond the context of its
/// config.json; nil where it has none. Source: the cards of Qwen3-2507.
public func longConfiguration(ofModelAt path: String) throws(CheckpointError) -> String? {
  let path = try HuggingFaceCache().path(ofModel: path)
  guard try pathKind(path) == .directory else { return nil }
  let name = "config_1m.json"
  return try directoryEntries(path).contains(name) ? name : nil
}

/// Up to three of `names` that `name` may have meant: those with the same last components, or that
/// differ in a prefix.
func similarNames(to name: String, in names: some Collection<String>) -> [String] {
  let candidates = names.filter { $0.hasSuffix("." + name) || name.hasSuffix("." + $0) }
  if !candidates.isEmpty { return Array(candidates.sorted().prefix(3)) }
  let parts = name.split(separator: ".")
  let ends = names.filter { $0.split(separator: ".").suffix(2) == parts.suffix(2) }
  return Array(ends.sorted().prefix(3))
}
