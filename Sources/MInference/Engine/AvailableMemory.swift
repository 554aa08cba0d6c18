import CSystemCalls

/// What the system and its containers leave to this process.
enum AvailableMemory {
  /// Bytes that can be allocated without swapping; 0 where the system does not say.
  static var bytes: Int { Int(clamping: csystem_available_memory_bytes()) }
}
