/// Dense causal attention: every pair. Needs no estimate.
public enum Dense {
  public static func selection() -> PairSelection { .all }
}
