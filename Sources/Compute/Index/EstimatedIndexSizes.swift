/// How large the pieces are that a device builds the index of estimated heads from, for each query head: what
/// it allocates, and what has to be free.
///
/// A pure value. Lists have an entry a key at most.
public struct EstimatedIndexSizes: Sendable, Equatable {
  /// Keys of a tile. Bands begin at least as far apart.
  public static let tileKeys = 64

  /// Keys up to the chunk's last row.
  public let keys: Int

  public init(keys: Int) { self.keys = keys }

  /// Entries of a table of sums: the keys, rounded up so that a head's row begins at 16 bytes.
  public var sumStride: Int { (keys + 3) / 4 * 4 }

  /// The most bands that a head's offsets can be joined to.
  public var mostBands: Int { (keys - 1) / Self.tileKeys + 2 }

  /// Bytes of the two tables of float32 sums, of columns and of offsets.
  public var sumBytes: Int { 2 * 4 * keys }

  /// Bytes of the list of offsets, Int32.
  public var offsetBytes: Int { 4 * keys }

  /// Bytes of the list of columns, Int32.
  public var columnBytes: Int { 4 * keys }

  /// Bytes that are allowed for the rest: bands, their starts and steps (17/64 of a byte a key) and partial
  /// softmaxes (512 bytes for each part that the keys are split in).
  public var restBytes: Int { keys }

  public var bytes: Int { sumBytes + offsetBytes + columnBytes + restBytes }
}
