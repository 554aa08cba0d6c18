import Files
import JSON

/// Why a checkpoint cannot be used. `description` is always one line that names the file, what is
/// wrong with its numbers, and what to do.
public enum CheckpointError: Error, Equatable, Sendable {
  /// There is nothing at this path.
  case notFound(path: String)
  /// There is something at this path, but not a directory.
  case notADirectory(path: String)
  /// The operating system refuses; `reason` is its message.
  case unreadable(path: String, reason: String)
  /// The directory has no `config.json`; `contents` says what it has instead.
  case missingConfiguration(directory: String, contents: String)
  /// The file that was to stand for `config.json` is not there.
  case missingChoice(file: String)
  /// The directory has no `*.safetensors`; `contents` says what it has instead.
  case missingWeights(directory: String, contents: String)
  /// The index names a file that is not in the directory.
  case missingShard(index: String, shard: String)
  /// Not JSON, at this byte of the file.
  case malformedJSON(file: String, offset: Int, problem: String)
  /// A safetensors file whose header does not fit itself or the file.
  case malformedFile(file: String, problem: String)
  /// A tensor whose entry in the header does not fit itself or the file.
  case malformedTensor(file: String, tensor: String, problem: String)
  /// Two files hold the tensor and no index says which one counts.
  case duplicateTensor(name: String, files: [String])
  /// No file of the checkpoint holds the tensor. `similar` names tensors that there are.
  case missingTensor(name: String, directory: String, similar: [String])
  /// The tensor is there in another shape.
  case misshapenTensor(file: String, name: String, expected: [Int], found: [Int])
  /// The tensor's element type is not supported for weights.
  case unsupportedElementType(file: String, name: String, found: String)
  /// The tensor's storage type is not supported; `known` names the supported ones.
  case unsupportedTensorType(file: String, name: String, found: String, known: String)
  /// A model of Hugging Face's that is not on this machine.
  case notDownloaded(model: String, cache: String)
  /// The directory holds several GGUF models.
  case severalModels(directory: String, files: [String])
  /// A field of a JSON file, or a metadata key, that is missing or has an invalid value.
  case invalidField(file: String, field: String, problem: String)
  /// A file was changed in place while it was mapped.
  case changedWhileMapped(file: String, expectedBytes: Int, foundBytes: Int)
}

extension CheckpointError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notFound(let path):
      return "\(printable(path)): no such directory or file: name a directory with config.json and "
        + "*.safetensors, or a GGUF file"
    case .notADirectory(let path):
      return "\(printable(path)): is a file, but no GGUF file: name the directory that "
        + "holds it, or a file NAME.gguf"
    case .unreadable(let path, let reason):
      return "\(printable(path)): cannot be read (\(reason)): check its permissions and its disk"
    case .missingConfiguration(let directory, let contents):
      return "\(printable(directory)): has no config.json, only \(contents): "
        + "name the directory of a Hugging Face checkpoint"
    case .missingChoice(let file):
      return "\(printable(file)): there is no such configuration: name a file of the checkpoint's "
        + "directory"
    case .missingWeights(let directory, let contents):
      return "\(printable(directory)): has no *.safetensors, only \(contents): "
        + "download or convert the weights to safetensors"
    case .missingShard(let index, let shard):
      return "\(printable(index)): names \(printable(shard)), which is not in the directory: "
        + "download the missing shard"
    case .malformedJSON(let file, let offset, let problem):
      return "\(printable(file)): not valid JSON at byte \(offset): \(problem): "
        + "download the file again"
    case .malformedFile(let file, let problem):
      return "\(printable(file)): \(printable(problem)): download the file again"
    case .malformedTensor(let file, let tensor, let problem):
      return "\(printable(file)): tensor \(quoted(tensor)): \(printable(problem)): "
        + "download the file again"
    case .duplicateTensor(let name, let files):
      return
        "tensor \(quoted(name)) is in \(files.map { printable($0) }.joined(separator: " and "))"
        + ": remove one, or add the model.safetensors.index.json that says which counts"
    case .missingTensor(let name, let directory, let similar):
      let hint =
        similar.isEmpty
        ? "" : " (there is \(similar.map { quoted($0) }.joined(separator: ", ")))"
      return "\(printable(directory)): no file holds tensor \(quoted(name))\(hint): "
        + "check that every shard is there and that config.json belongs to it"
    case .misshapenTensor(let file, let name, let expected, let found):
      return "\(printable(file)): tensor \(quoted(name)) has shape "
        + "\(printable("\(found)", limit: 120)) where the "
        + "configuration asks for \(expected): check that both belong to the same model"
    case .unsupportedElementType(let file, let name, let found):
      return "\(printable(file)): tensor \(quoted(name)) is stored as \(printable(found)) where "
        + "F32, F16 or BF16 is needed: convert the checkpoint"
    case .unsupportedTensorType(let file, let name, let found, let known):
      return "\(printable(file)): tensor \(quoted(name)) is stored as \(printable(found)): "
        + "known are \(known): download the model in one of these"
    case .notDownloaded(let model, let cache):
      return "\(printable(model)): no such directory or file, and not in Hugging Face's cache "
        + "(\(printable(cache))): download it with: hf download \(printable(model))"
    case .severalModels(let directory, let files):
      let shown = files.prefix(4).map { printable($0) }.joined(separator: ", ")
      let more = files.count > 4 ? " and \(files.count - 4) more" : ""
      return "\(printable(directory)): holds several models (\(shown)\(more)): name one file"
    case .invalidField(let file, let field, let problem):
      return "\(printable(file)): \(printable(field)) \(printable(problem))"
    case .changedWhileMapped(let file, let expectedBytes, let foundBytes):
      let change =
        foundBytes == expectedBytes
        ? "was written to while it was read"
        : "became \(foundBytes) bytes long while it was read (\(expectedBytes) before)"
      return "\(printable(file)): \(change): restore the file and run again"
    }
  }
}

extension CheckpointError {
  /// The same problem, as a checkpoint's.
  init(_ error: FileError) {
    switch error.problem {
    case .changed(let expectedBytes, let foundBytes):
      self = .changedWhileMapped(
        file: error.path, expectedBytes: expectedBytes, foundBytes: foundBytes)
    default: self = .unreadable(path: error.path, reason: error.reason)
    }
  }
}
