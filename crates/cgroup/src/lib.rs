//! Control groups as typed files, version 2, version 1 and hybrid behind one type.
