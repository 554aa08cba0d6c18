public import Compute
import TextReports

/// Why a cache was not saved or restored; each description is one line that says what to do.
public enum CacheFileError: RemediedError, Sendable, Equatable {
  case unwritable(file: String, reason: String)
  case unreadable(file: String, reason: String)
  /// Not a file that ``Transformer/save(_:tokens:fingerprint:to:)`` wrote.
  case foreign(file: String)
  case version(file: String, found: Int, known: Int)
  /// Keys and values of another model: other weights, another configuration.
  case model(file: String)
  /// Another number format than the cache's.
  case format(file: String, found: String, wanted: String)
  /// Fewer bytes, or more, than the header announces.
  case size(file: String, bytes: Int, wanted: Int)
  case checksum(file: String)
  case tooLong(file: String, tokens: Int, capacity: Int)
  /// A format in which a cache cannot be saved.
  case unsupported(type: String)
  case nothingToSave

  public func description(naming name: (Remedy.Setting) -> String) -> String {
    switch self {
    case .unwritable(let file, let reason):
      "\(file): cannot be written (\(reason)); free some space or name another file"
    case .unreadable(let file, let reason):
      "\(file): cannot be read (\(reason)); name a readable file"
    case .foreign(let file):
      "\(file): is no saved cache; name a file that was saved by this program"
    case .version(let file, let found, let known):
      "\(file): has format version \(found) and this program reads \(known); read the text again"
    case .model(let file):
      "\(file): was saved with another model, or where products are of other numbers; use that one, or "
        + "read the text again"
    case .format(let file, let found, let wanted):
      "\(file): was saved as \(found) and this cache holds \(wanted); "
        + Remedy(use: .savedKeyValues).text(naming: name)
    case .size(let file, let bytes, let wanted):
      "\(file): has \(Quantity.grouped(bytes)) bytes instead of \(Quantity.grouped(wanted)) and was cut or changed; read the text again"
    case .checksum(let file):
      "\(file): does not match its checksum and was changed; read the text again"
    case .tooLong(let file, let tokens, let capacity):
      "\(file): holds \(Quantity.grouped(tokens)) tokens and there is room for \(Quantity.grouped(capacity)); make room for more"
    case .unsupported(let type):
      "a cache of \(type) cannot be saved; "
        + Remedy(use: .bfloat16KeyValues, .float8KeyValues).text(naming: name)
    case .nothingToSave:
      "there is nothing to save; read a prompt first"
    }
  }
}
