import Files

/// Files and directories, with errors of a checkpoint.
enum PathKind {
  case nothing, directory, other
}

func pathKind(_ path: String) throws(CheckpointError) -> PathKind {
  do {
    return switch try WholeFile.leadsToDirectory(path) {
    case nil: .nothing
    case true?: .directory
    case false?: .other
    }
  } catch {
    throw CheckpointError(error)
  }
}

/// Names of the entries of a directory but `.` and `..`, in ascending order.
func directoryEntries(_ path: String) throws(CheckpointError) -> [String] {
  do {
    return try WholeFile.names(inDirectory: path)
  } catch {
    throw CheckpointError(error)
  }
}

/// The whole of a small regular file.
///
/// - Throws: `.unreadable`, also for a file of more than `limit` bytes.
func readFile(at path: String, limit: Int = 256 << 20) throws(CheckpointError) -> [UInt8] {
  do {
    return try WholeFile.bytes(of: path, limit: limit)
  } catch {
    throw CheckpointError(error)
  }
}

/// A regular file, mapped.
func mapFile(at path: String) throws(CheckpointError) -> MappedFile {
  do {
    return try MappedFile(path: path)
  } catch {
    throw CheckpointError(error)
  }
}

/// Throws `.changedWhileMapped` when one of the files was written to in place since it was mapped.
func verifyUnchanged(_ files: [MappedFile]) throws(CheckpointError) {
  do throws(FileError) {
    for file in files { try file.verifyUnchanged() }
  } catch {
    throw CheckpointError(error)
  }
}
