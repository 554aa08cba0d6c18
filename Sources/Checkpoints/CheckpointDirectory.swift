import JSON

/// The files of a directory that make up its checkpoint.
package struct CheckpointDirectory {
  package let path: String
  package let configurationPath: String
  /// Nil when there is none.
  package let generationConfigurationPath: String?
  /// Every `*.safetensors`, in ascending order.
  package let weightPaths: [String]
  /// `model.safetensors.index.json`; nil when there is none.
  package let indexPath: String?

  /// Looks at the names in the directory; opens nothing.
  ///
  /// - Parameter configuration: What stands for config.json: the name of a file of the directory, or a
  ///   path.
  /// - Throws: `.notFound`, `.notADirectory`, `.unreadable`, `.missingConfiguration`,
  ///   `.missingWeights`.
  package init(path: String, configuration: String? = nil) throws(CheckpointError) {
    switch try pathKind(path) {
    case .nothing: throw .notFound(path: path)
    case .other: throw .notADirectory(path: path)
    case .directory: break
    }
    let names = try directoryEntries(path)
    func existing(_ name: String) -> String? {
      names.contains(name) ? joined(path, name) : nil
    }
    let given = configuration.map { $0.contains("/") ? $0 : joined(path, $0) }
    if let given, try pathKind(given) == .nothing { throw .missingChoice(file: given) }
    guard let configurationPath = given ?? existing("config.json") else {
      throw .missingConfiguration(directory: path, contents: Self.summary(of: names))
    }
    let weights = names.filter { $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") }
    guard !weights.isEmpty else {
      throw .missingWeights(directory: path, contents: Self.summary(of: names))
    }
    self.path = path
    self.configurationPath = configurationPath
    generationConfigurationPath = existing("generation_config.json")
    weightPaths = weights.map { joined(path, $0) }
    indexPath = existing("model.safetensors.index.json")
  }

  /// The first few names, weights of other formats first.
  private static func summary(of names: [String]) -> String {
    guard !names.isEmpty else { return "nothing" }
    let otherWeights = [".bin", ".gguf", ".pt", ".pth", ".safetensors"]
    func isWeight(_ name: String) -> Bool { otherWeights.contains { name.hasSuffix($0) } }
    let ordered = names.filter(isWeight) + names.filter { !isWeight($0) }
    let shown = ordered.prefix(4).map { quoted($0) }.joined(separator: ", ")
    return ordered.count > 4 ? "\(shown) and \(ordered.count - 4) more" : shown
  }
}

/// `model.safetensors.index.json`: which file holds which tensor.
package struct ShardIndex: Sendable {
  /// File name for each tensor name.
  private let files: [ByteString: String]
  private let named: Set<ByteString>
  private let absent: Set<ByteString>

  /// The name of the file that holds the tensor; nil when the index leaves it out.
  package func file(of tensor: String) -> String? { files[ByteString(tensor)] }

  /// Whether the index places a tensor in the file of this name.
  package func names(_ file: String) -> Bool { named.contains(ByteString(file)) }

  /// Whether the directory has no file of this name.
  package func lacks(_ file: String) -> Bool { absent.contains(ByteString(file)) }

  /// The first file that the index names and the directory lacks.
  package var absentFile: String? { absent.min()?.text }

  /// Nil when the directory has no index.
  ///
  /// - Throws: when it cannot be read or is not an index.
  package init?(directory: CheckpointDirectory) throws(CheckpointError) {
    guard let path = directory.indexPath else { return nil }
    try self.init(path: path, weightPaths: directory.weightPaths)
  }

  /// - Parameter weightPaths: Files that are there.
  init(path: String, weightPaths: [String]) throws(CheckpointError) {
    let value = try readJSON(at: path)
    guard case .object(let members)? = value["weight_map"] else {
      throw .invalidField(
        file: path, field: "weight_map",
        problem: "is \(value["weight_map"]?.kind ?? "missing"): it should name a file for each "
          + "tensor: download the file again")
    }
    var files: [ByteString: String] = [:]
    files.reserveCapacity(members.count)
    for member in members {
      guard case .string(let file) = member.value else {
        throw .invalidField(
          file: path, field: "weight_map",
          problem: "gives \(member.value.kind) for tensor \(quoted(member.key)), not a file name: "
            + "download the file again")
      }
      files[ByteString(member.key)] = file
    }
    self.files = files
    // Names with a directory in them are among the absent: nothing outside is ever opened.
    named = Set(files.values.map(ByteString.init))
    absent = named.subtracting(weightPaths.map { ByteString(pathComponent($0)) })
  }
}

/// `directory/name`, with one slash.
func joined(_ directory: String, _ name: String) -> String {
  directory.hasSuffix("/") ? directory + name : directory + "/" + name
}

/// What follows the last slash.
func pathComponent(_ path: String) -> String {
  path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
}

/// The JSON value that the file holds.
func readJSON(at path: String) throws(CheckpointError) -> JSONValue {
  let bytes = try readFile(at: path)
  do {
    return try JSONValue(parsing: bytes)
  } catch {
    throw .malformedJSON(file: path, offset: error.offset, problem: error.problem)
  }
}
