import JSON

/// Errors of pattern files and of budgets; each description is one line.
public enum PatternError: Error, CustomStringConvertible, Sendable, Equatable {
  /// The file cannot be opened or read.
  case unreadable(file: String, reason: String)
  /// The file is not JSON, or has neither layout.
  case malformed(file: String, detail: String)
  /// The file's version is newer than this program.
  case version(file: String, version: String)
  /// One entry is wrong.
  case entry(file: String, layer: Int, head: String, detail: String)
  /// The file was made for another shape of model.
  case shape(file: String, layers: Int, heads: Int, modelLayers: Int, modelHeads: Int)
  /// A budget that was given to the command or the library is out of range.
  case budget(name: String, value: String, allowed: String)
  /// The file cannot be written.
  case unwritable(file: String, reason: String)

  public var description: String {
    switch self {
    case .unreadable(let file, let reason):
      "\(printable(file)): cannot be read (\(reason)); give the path of a pattern file"
    case .malformed(let file, let detail):
      "\(printable(file)): is not a pattern file: \(printable(detail, limit: 600))"
    case .version(let file, let version):
      "\(printable(file)): has version \(version), this program reads version 1; update the program or "
        + "search the patterns again"
    case .entry(let file, let layer, let head, let detail):
      "\(printable(file)): layer \(layer), head \(head): \(printable(detail, limit: 600))"
    case .shape(let file, let layers, let heads, let modelLayers, let modelHeads):
      "\(printable(file)): is for a model of \(layers) layers x \(heads) heads, but the model has "
        + "\(modelLayers) layers x \(modelHeads) heads; give the file of this model"
    case .budget(let name, let value, let allowed):
      "\(name) \(value): give \(allowed)"
    case .unwritable(let file, let reason):
      "\(printable(file)): cannot be written (\(reason))"
    }
  }
}
