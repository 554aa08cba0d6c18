import Files

/// What lies at a path, links followed.
enum PathKind {
  case nothing, directory, other
}

/// What lies at the path.
///
/// - Throws: `.unreadable` where the system does not say.
func pathKind(_ path: String) throws(CheckpointError) -> PathKind {
  do {
    return switch try WholeFile.leadsToDirectory(path) {
    case .none: .nothing
    case .some(true): .directory
    case .some(false): .other
    }
  } catch {
    throw CheckpointError(error)
  }
}

/// Names of the entries of a directory, in ascending order.
///
/// - Throws: `.unreadable`.
func directoryEntries(_ path: String) throws(CheckpointError) -> [String] {
  do {
    return try WholeFile.names(inDirectory: path)
  } catch {
    throw CheckpointError(error)
  }
}
