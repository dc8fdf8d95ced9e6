//! BEING WRITTEN BY ANOTHER PERSON RIGHT NOW: leave this folder (voice-activity) alone, it is no
//! longer part of the guest helper's task.
